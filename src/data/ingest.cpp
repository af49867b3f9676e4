#include "data/ingest.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/cannot_write.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/text.h"
#include "data/group_layout.h"
#include "data/group_selection.h"
#include "data/store_builder.h"
#include "data/text_notes.h"
#include "preference/swap_check.h"

namespace dmoerm::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using preference::Split;

constexpr std::int64_t kListedMax = 1000;  // rows of one kind in the list of dropped rows

/// Number of pairs of responses that the group states in both orders under one label.
std::int64_t contradictions(const preference::Group& group) {
  std::set<std::tuple<std::string, int, int>> said;
  for (const preference::StatedPair& p : group.pairs) said.insert({p.label, p.winner, p.loser});
  return std::ranges::count_if(said, [&](const auto& s) {
    const auto& [label, winner, loser] = s;
    return winner < loser && said.contains({label, loser, winner});
  });
}

/// Output files that appear together at the end, or not at all.
class Outputs {
 public:
  explicit Outputs(std::vector<fs::path> paths) : paths_(std::move(paths)) {}
  ~Outputs() {
    if (published_ == paths_.size()) return;
    std::error_code ignored;
    for (std::size_t i = 0; i < paths_.size(); ++i) fs::remove(i < published_ ? paths_[i] : temporary_name(paths_[i]), ignored);
  }
  Outputs(const Outputs&) = delete;
  Outputs& operator=(const Outputs&) = delete;
  void publish() {
    for (; published_ < paths_.size(); ++published_) publish_file(temporary_name(paths_[published_]), paths_[published_]);
  }

 private:
  std::vector<fs::path> paths_;
  std::size_t published_ = 0;
};

/// The second pass over the inputs, in which groups become tokens in the store.
class Ingest {
 public:
  explicit Ingest(const IngestRequest& request)
      : request_(request),
        limits_{request.data.max_length, request.data.min_prompt_tokens, request.renderer.head_tokens},
        selection_(request) {}

  IngestReport run() {
    const fs::path& store = request_.output;
    report_.dropped_file = store.string() + ".dropped.jsonl";
    const fs::path summary = store.string() + ".report.json";
    for (const fs::path& output : {report_.dropped_file, summary, store}) {
      expect_no_special_file(output);
      remove_stale_temporaries_of(output);
    }
    Outputs outputs({report_.dropped_file, summary, store});  // the store comes last: if it is there, so are the others
    write_store(temporary_name(store));
    report_.digest = verify_store(temporary_name(store));
    write_file_atomically(temporary_name(summary), to_json(report_).dump(2) + "\n");
    outputs.publish();
    return report_;
  }

 private:
  void write_store(const fs::path& path) {
    log_.open(temporary_name(report_.dropped_file));
    if (!log_)
      throw IoError("cannot-create-file",
                    fmt::format("{}: cannot create this file: does its directory exist?", report_.dropped_file.string()));
    StoreBuilder builder(path, selection_.categories());
    report_.inputs = read_inputs(
        request_, [&](InputGroup&& item) { return add(std::move(item), builder); },
        [&](const preference::Dropped& d) { drop(d, d.bad ? "bad line" : d.reason); });
    report_.pairs = builder.pairs();
    if (builder.groups_without_pairs() > 0) report_.noted["groups without any ordered pair"] = builder.groups_without_pairs();
    json provenance = json::parse(request_.renderer.provenance);
    const json about = to_json(report_);
    for (const char* key : {"inputs", "counts", "cut", "dropped", "noted"}) provenance[key] = about[key];
    builder.finish(provenance.dump(), request_.renderer.head_tokens);
    for (const auto& [kind, times] : listed_) {
      if (times > kListedMax) log_ << json_line({{"kind", kind}, {"not_listed", times - kListedMax}}) << "\n";
    }
    log_.close();
    if (!log_) throw IoError("cannot-write-file", cannot_write(report_.dropped_file.string()));
  }

  /// List a row, unless many of its kind are listed already.
  void write_log(const std::string& kind, const std::string& file, std::int64_t line, const std::string& reason, ErrorCode code,
                 bool kept) {
    if (++listed_[kind] > kListedMax) return;
    json entry{{"file", file}, {"line", line}, {"reason", reason}};
    if (!code.empty()) entry["code"] = code.text();
    if (kept) entry["kept"] = true;
    log_ << json_line(entry) << "\n";
  }

  void drop(const preference::Dropped& dropped, const std::string& kind) {
    ++report_.dropped[kind];
    write_log(dropped.code.empty() ? kind : std::string(dropped.code.text()), dropped.file, dropped.line, dropped.reason,
              dropped.code, false);
  }

  void note(const preference::Group& group, const std::string& what, std::int64_t times) {
    if (times == 0) return;
    report_.noted[what] += times;
    write_log(what, group.file, group.line, what, {}, true);
  }

  bool add(InputGroup&& item, StoreBuilder& builder) {
    preference::Group& group = item.group;
    if (request_.progress) request_.progress("tokenising", ++groups_, selection_.groups());
    const auto refuse = [&](const std::string& kind, const std::string& detail = "") {
      drop({group.file, group.line, kind + detail, {}, false}, kind);
      return false;
    };
    const Split stated = group.split;
    if (const std::string why = selection_.select(item); !why.empty())
      return refuse(why, item.configured ? "" : ": " + group.category);

    std::vector<std::vector<std::int32_t>> texts;
    for (const preference::Response& r : group.responses) texts.push_back(request_.renderer.render(group.prompt, r.text));
    std::vector<std::int32_t> prompt = request_.renderer.render_prompt(group.prompt);
    const bool wordless = prompt.empty() || std::ranges::any_of(texts, [](const auto& ids) { return ids.empty(); });
    if (wordless) return refuse("a text has no tokens in this vocabulary");
    // Test texts stay whole: they are cut when they are scored, one by one, as a user's texts are.
    std::vector<std::vector<std::int32_t>> whole;
    if (group.split == Split::test) whole = texts;
    GroupLayout layout = lay_out_group(std::move(texts), static_cast<std::int64_t>(prompt.size()), limits_);
    const bool equal = std::ranges::all_of(layout.responses, [&](const auto& ids) { return ids == layout.responses.front(); });
    if (equal) return refuse("all responses have the same tokens (after the cut to data.max_length)");
    if (whole.empty()) {
      prompt = cut_prompt(std::move(prompt), layout, limits_);
    } else {
      const GroupLayout shared =
          lay_out_group(std::move(whole), std::ssize(prompt), {.max_length = std::numeric_limits<std::int64_t>::max()});
      layout.prefix = shared.prefix;
      layout.responses = shared.responses;
    }
    builder.add(group, layout, prompt, group.split, std::max(1.0, item.weight), score_gap_min(group.category));

    const bool moved = stated != Split::unset && stated != group.split;
    note(group, "rows moved to the split that another row states for their prompt", moved ? 1 : 0);
    note(group, "pairs stated in both orders, which cancel out", contradictions(group));
    for (const std::string& words : text_notes(group)) note(group, words, 1);
    count(group, layout, group.split);
    return true;
  }

  [[nodiscard]] config::ScoreGap score_gap_min(const std::string& category) const {
    const auto found = std::ranges::find(request_.categories, category, &config::CategoryConfig::name);
    return found == request_.categories.end() ? config::ScoreGap{} : found->score_gap_min;
  }

  void count(const preference::Group& group, const GroupLayout& layout, Split split) {
    SplitCounts& counts = report_.counts[group.category][std::string(to_string(split))];
    ++counts.groups;
    counts.responses += static_cast<std::int64_t>(layout.responses.size());
    counts.tokens += static_cast<std::int64_t>(layout.prefix.size());
    for (const auto& r : layout.responses) counts.tokens += static_cast<std::int64_t>(r.size());
    if (layout.prompt_cut > 0) ++report_.cut[group.category]["prompts"];
    if (layout.responses_cut > 0) report_.cut[group.category]["responses"] += layout.responses_cut;
    for (const preference::RecordedVerdict& v : group.verdicts) {
      ++report_.verdicts[group.category + "/" + v.point]
                        [std::string(to_string(preference::check_swap(v.first_order, v.second_order)))];
    }
  }

  const IngestRequest& request_;
  const LayoutLimits limits_;
  GroupSelection selection_;
  std::int64_t groups_ = 0;  ///< groups that the second pass has come to
  std::ofstream log_;
  std::map<std::string, std::int64_t> listed_;  ///< rows of each kind, by code or reason, that were listed or would have been
  IngestReport report_;
};

}  // namespace

IngestReport ingest(const IngestRequest& request) {
  const std::int64_t kept = request.renderer.head_tokens + request.data.min_prompt_tokens;
  if (kept >= request.data.max_length) {
    throw ConfigError("max-length-too-small",
                      fmt::format("data.max_length: expected more than min_prompt_tokens + the template's head = {}, found {}",
                                  kept, request.data.max_length));
  }
  return Ingest(request).run();
}

IngestReport ingest_for_run(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                            const tokenizer::ChatTemplate& chat_template, const fs::path& output,
                            const IngestProgress& progress) {
  if (!chat_template.missing_tokens().empty())
    spdlog::warn(
        "[ingest] template {}: the tokenizer has no token {}, so it is written as plain text: is this the template of the model?",
        chat_template.name(), fmt::join(chat_template.missing_tokens(), ", "));
  IngestRequest request;
  request.data = config.data;
  request.categories = config.categories;
  request.seed = config.seed;
  request.output = output;
  request.renderer.render = [&](std::span<const preference::Message> prompt, std::string_view response) {
    return chat_template.render(prompt, response);
  };
  request.renderer.render_prompt = [&](std::span<const preference::Message> prompt) {
    return chat_template.render_prompt(prompt);
  };
  request.renderer.head_tokens = chat_template.head_tokens();
  request.renderer.provenance =
      json{{"tokenizer", tokenizer.digest()}, {"template", chat_template.name()}, {"template_digest", chat_template.digest()}}
          .dump();
  request.progress = progress;
  IngestReport report = ingest(request);
  spdlog::info("[ingest] {}\n{}", output.string(), to_text(report));
  return report;
}

}  // namespace dmoerm::data
