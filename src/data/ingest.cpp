#include "data/ingest.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/cannot_write.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/text.h"
#include "data/group_layout.h"
#include "data/group_selection.h"
#include "data/row_batches.h"
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

/// A group on its way into the store, or a row that is left out.
struct Passing {
  InputGroup item;
  Split stated = Split::unset;  ///< the split that the row states
  std::string kind, detail;     ///< why it is left out; "" if it is not
  preference::Dropped dropped;  ///< the row, if the reader left it out
  GroupLayout layout;
  std::vector<std::int32_t> prompt;
  std::vector<std::pair<std::string, std::int64_t>> notes;  ///< what is worth telling about it, and how often
};

/// What is worth telling about a group that is kept. @param stated  the split that its row states
std::vector<std::pair<std::string, std::int64_t>> notes_on(const preference::Group& group, Split stated) {
  const bool moved = stated != Split::unset && stated != group.split;
  std::vector<std::pair<std::string, std::int64_t>> notes{
      {"rows moved to the split that another row states for their prompt", moved ? 1 : 0},
      {"pairs stated in both orders, which cancel out", contradictions(group)},
      {preference::kMergedNote, group.merged}};
  for (const std::string& words : text_notes(group)) notes.emplace_back(words, 1);
  return notes;
}

RenderedGroup render(const Renderer& renderer, const preference::Group& group) {
  if (renderer.render_group) return renderer.render_group(group.prompt, group.responses);
  RenderedGroup rendered{renderer.render_prompt(group.prompt), {}};
  for (const preference::Response& r : group.responses) rendered.texts.push_back(renderer.render(group.prompt, r.text));
  return rendered;
}

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
    report_.digest = verify_store(temporary_name(store), request_.threads);
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
    StoreBuilder builder(path, selection_.categories(), request_.threads);
    {
      Workers workers(request_.threads, kReadsData, 0);
      RowBatches<Passing> rows(
          workers, [this](Passing& row) { tokenise(row); }, [&](Passing&& row) { add(std::move(row), builder); });
      const auto pass = [&](InputGroup&& item) {
        const std::size_t bytes = text_bytes(item.group);
        rows.add(chosen(std::move(item)), bytes);
        return false;  // it is counted when it is in the store
      };
      const auto pass_dropped = [&](const preference::Dropped& d) {
        Passing row;
        row.kind = d.reason;
        row.dropped = d;
        rows.add(std::move(row), d.reason.size());
      };
      try {
        report_.inputs = read_inputs(request_, pass, pass_dropped);
      } catch (...) {  // after what was read before the failure
        rows.flush();
        throw;
      }
      rows.flush();
    }
    for (std::size_t i = 0; i < report_.inputs.size(); ++i) {
      report_.inputs[i].groups = kept_[i];
      report_.inputs[i].without_category = without_category_[i];
    }
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

  /// Tokenise a group and lay it out; on any thread.
  void tokenise(Passing& row) const {
    if (!row.kind.empty()) return;
    const preference::Group& group = row.item.group;
    auto [prompt, texts] = render(request_.renderer, group);
    const bool wordless = prompt.empty() || std::ranges::any_of(texts, [](const auto& ids) { return ids.empty(); });
    if (wordless) {
      row.kind = "a text has no tokens in this vocabulary";
      return;
    }
    // Test texts stay whole: they are cut when they are scored, one by one, as a user's texts are.
    std::vector<std::vector<std::int32_t>> whole;
    if (group.split == Split::test) whole = texts;
    GroupLayout layout = lay_out_group(std::move(texts), static_cast<std::int64_t>(prompt.size()), limits_);
    const bool equal = std::ranges::all_of(layout.responses, [&](const auto& ids) { return ids == layout.responses.front(); });
    if (equal) {
      row.kind = "all responses have the same tokens (after the cut to data.max_length)";
      return;
    }
    if (whole.empty()) {
      prompt = cut_prompt(std::move(prompt), layout, limits_);
    } else {
      const GroupLayout shared =
          lay_out_group(std::move(whole), std::ssize(prompt), {.max_length = std::numeric_limits<std::int64_t>::max()});
      layout.prefix = shared.prefix;
      layout.responses = shared.responses;
    }
    row.layout = std::move(layout);
    row.prompt = std::move(prompt);
    row.notes = notes_on(group, row.stated);
  }

  /// Choose whether a group is used, before it is tokenised.
  [[nodiscard]] Passing chosen(InputGroup&& item) {
    Passing row;
    row.stated = item.group.split;
    row.kind = selection_.select(item);
    if (!row.kind.empty() && !item.configured) row.detail = ": " + item.group.category;
    row.item = std::move(item);
    return row;
  }

  /// Put a group into the store, or list it as left out.
  void add(Passing&& row, StoreBuilder& builder) {
    if (!row.dropped.file.empty()) return drop(row.dropped, row.dropped.bad ? "bad line" : row.dropped.reason);
    const preference::Group& group = row.item.group;
    if (request_.progress) request_.progress("tokenising", ++groups_, selection_.groups());
    if (row.item.without_category && (row.kind.empty() || !row.item.configured)) ++without_category_[row.item.input];
    if (!row.kind.empty()) return drop({group.file, group.line, row.kind + row.detail, {}, false}, row.kind);
    builder.add(group, {row.item.prompt.stable(), row.item.session.stable()}, row.layout, row.prompt, group.split,
                std::max(1.0, row.item.weight), score_gap_min(group.category));
    for (const auto& [what, times] : row.notes) note(group, what, times);
    count(group, row.layout, group.split);
    ++kept_[row.item.input];
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
  /// Groups in the store, and those of IngestReport::Input::without_category, by the number of their input.
  std::map<std::size_t, std::int64_t> kept_, without_category_;
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
  request.renderer.render_group = [&](std::span<const preference::Message> prompt,
                                      std::span<const preference::Response> responses) {
    std::vector<std::string_view> texts;
    for (const preference::Response& r : responses) texts.emplace_back(r.text);
    auto [prompt_ids, ids] = chat_template.render_group(prompt, texts);
    return RenderedGroup{std::move(prompt_ids), std::move(ids)};
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
