#include "data/ingest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "data/store_builder.h"
#include "pair/group_reader.h"

namespace dmoerm::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using pair::Split;

double place_of(std::uint64_t hash, std::uint64_t seed) { return static_cast<double>(mix64(hash ^ seed)) * 0x1.0p-64; }

/// Keep some responses of a group by a seeded draw; labels follow.
void thin_responses(pair::Group& group, std::int64_t most, std::uint64_t seed) {
  if (most <= 0 || static_cast<std::int64_t>(group.responses.size()) <= most) return;
  std::vector<int> order(group.responses.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  Rng(seed, "thin/" + group.id).shuffle(order);
  order.resize(static_cast<std::size_t>(std::max<std::int64_t>(2, most)));
  std::ranges::sort(order);
  std::vector<int> place(group.responses.size(), -1);
  std::vector<pair::Response> kept;
  for (const int i : order) {
    place[static_cast<std::size_t>(i)] = static_cast<int>(kept.size());
    kept.push_back(std::move(group.responses[static_cast<std::size_t>(i)]));
  }
  group.responses = std::move(kept);
  const auto move = [&](int& index) { index = place[static_cast<std::size_t>(index)]; };
  for (pair::StatedPair& p : group.pairs) move(p.winner), move(p.loser);
  for (pair::RecordedVerdict& v : group.verdicts) move(v.a), move(v.b);
  std::erase_if(group.pairs, [](const pair::StatedPair& p) { return p.winner < 0 || p.loser < 0; });
  std::erase_if(group.verdicts, [](const pair::RecordedVerdict& v) { return v.a < 0 || v.b < 0; });
}

class Ingest {
 public:
  explicit Ingest(const IngestRequest& request) : request_(request) {
    for (const config::CategoryConfig& c : request.categories) {
      known_.push_back(c.name);
      points_[c.name] = {c.points.begin(), c.points.end()};
    }
  }

  IngestReport run() {
    if (request_.data.groups_per_category_max > 0) find_thresholds();
    const fs::path temporary = temporary_name(request_.output), dropped = request_.output.string() + ".dropped.jsonl", dropped_temporary = temporary_name(dropped);
    try {
      {
        StoreBuilder builder(temporary);
        std::ofstream log(dropped_temporary);
        log_ = &log;
        for (const config::InputConfig& input : request_.data.inputs) read_input(input, builder);
        if (!log.flush()) throw IoError(fmt::format("{}: cannot write: is the disk full?", dropped.string()));
        finish(builder);
      }
      publish_file(dropped_temporary, dropped);
      publish_file(temporary, request_.output);
    } catch (...) {
      fs::remove(temporary);
      fs::remove(dropped_temporary);
      throw;
    }
    report_.dropped_file = dropped;
    return report_;
  }

 private:
  void drop(const pair::Dropped& d) {
    ++report_.dropped[d.bad ? "bad line" : d.reason];
    if (log_ != nullptr) *log_ << json{{"file", d.file}, {"line", d.line}, {"reason", d.reason}}.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    if (!d.bad) return;
    if (bad_.size() < 10) bad_.push_back(fmt::format("{}:{}: {}", d.file, d.line, d.reason));
    if (++bad_lines_ > request_.data.bad_lines_max) {
      std::string text = fmt::format("{} bad lines, {} are tolerated (data.bad_lines_max):", bad_lines_, request_.data.bad_lines_max);
      for (const std::string& line : bad_) text += "\n  " + line;
      throw DataError(text);
    }
  }

  [[nodiscard]] bool wanted(const config::InputConfig& input, pair::Group& group) const {
    if (!input.category.empty()) group.category = input.category;
    if (input.split == "train") group.split = Split::train;
    if (input.split == "validation") group.split = Split::validation;
    if (input.split == "test") group.split = Split::test;
    return input.weight >= 1 || place_of(stable_hash("weight/" + group.id + pair::prompt_key(group.prompt)), request_.seed) < input.weight;
  }

  [[nodiscard]] Split hashed_split(std::uint64_t prompt) const {
    const double place = place_of(prompt, mix64(request_.seed));
    if (place < request_.data.test_share) return Split::test;
    return place < request_.data.test_share + request_.data.validation_share ? Split::validation : Split::train;
  }

  [[nodiscard]] std::uint64_t draw_key(const pair::Group& group) const { return mix64(stable_hash("draw/" + group.id) ^ request_.seed); }

  /// A first pass over the inputs: the largest draw key that is kept in each category's train split.
  void find_thresholds() {
    std::map<std::string, std::vector<std::uint64_t>> keys;
    for (const config::InputConfig& input : request_.data.inputs) {
      pair::GroupReader reader(input.path, input.form, [](const pair::Dropped&) {});
      while (auto group = reader.next()) {
        if (!wanted(input, *group)) continue;
        const Split split = group->split == Split::unset ? hashed_split(stable_hash(pair::prompt_key(group->prompt))) : group->split;
        if (split == Split::train) keys[group->category].push_back(draw_key(*group));
      }
    }
    const auto most = static_cast<std::size_t>(request_.data.groups_per_category_max);
    for (auto& [category, values] : keys) {
      if (values.size() <= most) continue;
      std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(most));
      thresholds_[category] = values[most];
    }
  }

  void read_input(const config::InputConfig& input, StoreBuilder& builder) {
    pair::GroupReader reader(input.path, input.form, [&](const pair::Dropped& d) { drop(d); });
    std::int64_t taken = 0;
    while (auto group = reader.next()) {
      if (wanted(input, *group) && add(std::move(*group), std::max(1.0, input.weight), builder)) ++taken;
    }
    report_.inputs.push_back({input.path, reader.form() != nullptr ? reader.form()->name : "(no rows)", taken});
  }

  bool add(pair::Group group, double weight, StoreBuilder& builder) {
    const auto refuse = [&](const std::string& why) {
      drop({group.file, group.line, why, false});
      return false;
    };
    if (group.category.empty()) group.category = known_.size() == 1 ? known_.front() : "default";
    if (!known_.empty() && std::ranges::find(known_, group.category) == known_.end()) return refuse("category not in the configuration: " + group.category);
    const std::string prompt_text = pair::prompt_key(group.prompt);
    const std::uint64_t prompt = stable_hash(prompt_text);
    const Split asked = group.split == Split::unset ? hashed_split(prompt) : group.split;
    const auto [place, fresh] = splits_.try_emplace(prompt, asked);
    if (!fresh && place->second != asked && group.split != Split::unset) ++report_.dropped["(kept) moved to the split that its prompt is in already"];
    const Split split = place->second;
    std::vector<std::string> texts;
    for (const pair::Response& r : group.responses) texts.push_back(r.text);
    std::ranges::sort(texts);
    std::string identity = group.category + "\x1d" + prompt_text;
    for (const std::string& text : texts) identity += "\x1d" + text;
    if (!seen_.insert(stable_hash(identity)).second) return refuse("duplicate: same prompt and responses as an earlier row");
    if (const auto limit = thresholds_.find(group.category); split == Split::train && limit != thresholds_.end() && draw_key(group) >= limit->second) {
      return refuse("thinned by data.groups_per_category_max");
    }
    thin_responses(group, request_.data.responses_per_group_max, request_.seed);
    keep_configured_points(group);
    if (!has_labels(group)) return refuse("no preference in the group: all scores equal or missing, no stated pair, no verdict");

    std::vector<std::vector<std::int32_t>> ids;
    for (const pair::Response& r : group.responses) ids.push_back(request_.renderer.render(group.prompt, r.text));
    std::vector<std::int32_t> prompt_ids = request_.renderer.render_prompt(group.prompt);
    if (prompt_ids.empty() || std::ranges::any_of(ids, [](const auto& i) { return i.empty(); })) return refuse("a text has no tokens in this vocabulary");
    const LayoutLimits limits{request_.data.max_length, request_.data.min_prompt_tokens, request_.renderer.head_tokens};
    const GroupLayout layout = lay_out_group(std::move(ids), static_cast<std::int64_t>(prompt_ids.size()), limits);
    const auto begin = prompt_ids.begin() + std::min<std::ptrdiff_t>(limits.head_tokens, static_cast<std::ptrdiff_t>(prompt_ids.size()));
    const std::ptrdiff_t over = std::max<std::ptrdiff_t>(layout.prompt_cut, static_cast<std::ptrdiff_t>(prompt_ids.size()) - request_.data.max_length);
    prompt_ids.erase(begin, begin + std::clamp<std::ptrdiff_t>(over, 0, prompt_ids.end() - begin));
    builder.add(group, layout, prompt_ids, split, weight);
    count(group, layout, split);
    return true;
  }

  /// Labels of points that the configuration does not name are of no use.
  void keep_configured_points(pair::Group& group) const {
    if (known_.empty()) return;
    const auto& points = points_.at(group.category);
    for (pair::Response& r : group.responses) std::erase_if(r.scores, [&](const auto& score) { return !points.contains(score.first); });
    std::erase_if(group.pairs, [&](const pair::StatedPair& p) { return p.label != pair::kOverall && !points.contains(p.label); });
    std::erase_if(group.verdicts, [&](const pair::RecordedVerdict& v) { return !points.contains(v.point); });
  }

  static bool has_labels(const pair::Group& group) {
    if (!group.pairs.empty() || !group.verdicts.empty()) return true;
    std::map<std::string, std::set<double>> values;
    for (const pair::Response& r : group.responses) {
      if (!std::isnan(r.overall)) values["overall"].insert(r.overall);
      for (const auto& [point, score] : r.scores) {
        if (!std::isnan(score)) values["." + point].insert(score);
      }
    }
    return std::ranges::any_of(values, [](const auto& v) { return v.second.size() > 1; });
  }

  void count(const pair::Group& group, const GroupLayout& layout, Split split) {
    SplitCounts& counts = report_.counts[group.category][std::string(to_string(split))];
    ++counts.groups;
    counts.responses += static_cast<std::int64_t>(layout.responses.size());
    counts.tokens += static_cast<std::int64_t>(layout.prefix.size());
    for (const auto& r : layout.responses) counts.tokens += static_cast<std::int64_t>(r.size());
    if (layout.prompt_cut > 0) ++report_.cut[group.category]["prompts"];
    if (layout.responses_cut > 0) report_.cut[group.category]["responses"] += layout.responses_cut;
    for (const pair::RecordedVerdict& v : group.verdicts) ++report_.verdicts[group.category + "/" + v.point][std::string(to_string(pair::check_swap(v.first_order, v.second_order)))];
  }

  void finish(StoreBuilder& builder) {
    std::vector<std::string> found = builder.categories();
    std::ranges::sort(found);
    std::string missing, list;
    for (const std::string& name : known_) {
      if (!report_.counts.contains(name)) missing += (missing.empty() ? "" : ", ") + name;
    }
    for (const std::string& name : found) list += (list.empty() ? "" : ", ") + name;
    if (!missing.empty()) throw ConfigError(fmt::format("categories without any data: {}; the inputs hold: {}", missing, list.empty() ? "nothing that can be used" : list));
    if (found.empty()) throw DataError("the inputs hold no group that can be used");
    json provenance = json::parse(request_.renderer.provenance);
    for (const IngestReport::Input& input : report_.inputs) provenance["inputs"].push_back({{"path", input.path}, {"form", input.form}, {"groups", input.groups}});
    provenance["dropped"] = report_.dropped;
    builder.finish(known_.empty() ? found : known_, provenance.dump());
  }

  const IngestRequest& request_;
  std::vector<std::string> known_;
  std::map<std::string, std::set<std::string>> points_;
  std::map<std::string, std::uint64_t> thresholds_;
  std::unordered_map<std::uint64_t, Split> splits_;
  std::unordered_set<std::uint64_t> seen_;
  std::vector<std::string> bad_;
  std::int64_t bad_lines_ = 0;
  std::ofstream* log_ = nullptr;
  IngestReport report_;
};

}  // namespace

IngestReport ingest(const IngestRequest& request) { return Ingest(request).run(); }

IngestReport ingest_for_run(const config::RunConfig& config, const Tokenizer& tokenizer, const ChatTemplate& chat_template, const fs::path& output) {
  IngestRequest request;
  request.data = config.data, request.categories = config.categories, request.seed = config.seed, request.output = output;
  request.renderer.render = [&](std::span<const pair::Message> prompt, std::string_view response) { return chat_template.render(prompt, response); };
  request.renderer.render_prompt = [&](std::span<const pair::Message> prompt) { return chat_template.render_prompt(prompt); };
  request.renderer.head_tokens = chat_template.head_tokens();
  request.renderer.provenance = json{{"tokenizer", tokenizer.digest()}, {"template", chat_template.name()}, {"template_digest", chat_template.digest()}}.dump();
  const IngestReport report = ingest(request);
  spdlog::info("[ingest] {}\n{}", output.string(), to_text(report));
  return report;
}

std::string to_text(const IngestReport& report) {
  std::string text;
  for (const IngestReport::Input& input : report.inputs) text += fmt::format("{}: form {}, {} groups\n", input.path, input.form, input.groups);
  for (const auto& [category, splits] : report.counts) {
    for (const auto& [split, c] : splits) text += fmt::format("  {:<24} {:<10} {:>8} groups {:>9} responses {:>11} tokens\n", category, split, c.groups, c.responses, c.tokens);
  }
  for (const auto& [category, kinds] : report.cut) {
    for (const auto& [kind, n] : kinds) text += fmt::format("  {:<24} {} {} cut to fit data.max_length\n", category, n, kind);
  }
  for (const auto& [stream, outcomes] : report.verdicts) {
    text += fmt::format("  verdicts {:<36}", stream);
    for (const auto& [outcome, n] : outcomes) text += fmt::format(" {} {}", outcome, n);
    text += "\n";
  }
  for (const auto& [reason, n] : report.dropped) text += fmt::format("  dropped {:>8}: {}\n", n, reason);
  text += fmt::format("  everything dropped, with lines: {}", report.dropped_file.string());
  return text;
}

}  // namespace dmoerm::data
