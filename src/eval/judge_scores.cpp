#include "eval/judge_scores.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/passing_file.h"
#include "base/stop.h"
#include "config/reader.h"
#include "judge/judge.h"
#include "label/judge_folder.h"
#include "label/labeller.h"
#include "label/point_verdicts.h"
#include "label_store/label_store.h"
#include "preference/group_json.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::eval {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCategory = "any";

judge::TokenCounter counter_of(const std::string& directory) {
  const auto tokenizer =
      std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(fs::path(directory) / "tokenizer.json"));
  return [tokenizer](std::string_view text) { return static_cast<std::int64_t>(tokenizer->encode(text, false).size()); };
}

/// The items as groups of one category, in the file that labelling reads.
void write_groups(const Data& data, const fs::path& path) {
  std::string lines;
  for (const Item& item : data.items) {
    preference::Group group;
    group.id = item.id;
    group.category = kCategory;
    group.split = preference::Split::test;
    group.file = item.file;
    group.line = item.line;
    group.prompt = item.prompt;
    for (const std::string& text : item.responses) group.responses.push_back({text, preference::kMissing, {}});
    lines += preference::to_json_line(group) + "\n";
  }
  write_file_atomically(path, lines);
}

/// The pairs whose order the data knows, and its ties.
std::vector<label::GroupPairs> pairs_of(const Data& data) {
  std::vector<label::GroupPairs> all;
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    std::set<std::pair<int, int>> pairs(data.items[i].ties.begin(), data.items[i].ties.end());
    for (const preference::Preference& p : overall_pairs(data.items[i]))
      pairs.insert({std::min(p.winner, p.loser), std::max(p.winner, p.loser)});
    if (!pairs.empty()) all.push_back({i, {pairs.begin(), pairs.end()}});
  }
  return all;
}

/// 1 if the judges prefer a, 0 if they prefer b, 0.5 if they do not agree with themselves or each other.
double preference_of(const label::PairBallots& ballots) {
  std::vector<label::Ballot> all;
  for (const auto& own : ballots.of_judge) all.insert(all.end(), own.begin(), own.end());
  const preference::SwapOutcome outcome = label::count_votes(all).outcome;
  return outcome == preference::SwapOutcome::first ? 1 : outcome == preference::SwapOutcome::second ? 0 : 0.5;
}

/// Ends an evaluation whose judges did not answer everything.
[[noreturn]] void refuse(const label::LabellingEnd& end, const std::string& message) {
  if (end.why == label::LabellingEnd::Why::refused) throw ConfigError(end.code(), message);
  throw Stopped(end.code(), message);
}

}  // namespace

ModelScores judge_scores(const std::string& name, const std::string& config_file, const Data& data, const OnScored& on_scored) {
  const config::RunConfig config = config::read_run_config(config_file, {});
  if (config.labels.judges.empty())
    throw ConfigError(
        "no-judge",
        fmt::format("{}: labels.judges: no judge to ask: name at least one with its model and endpoints", config_file));
  std::vector<judge::Judge> judges = judge::make_judges(config.labels, label::judge_folder(), counter_of);
  const label::Target target{kCategory, std::string(preference::kOverall)};
  static_cast<void>(judges.front().answer_forms.front().criteria().find(target.category, target.point));  // throws if unknown
  const PassingFile file(temporary_name(fs::temp_directory_path() / "dmoerm-eval"));
  write_groups(data, file.path());
  label::GroupFile groups(file.path());
  const std::vector<label::GroupPairs> pairs = pairs_of(data);
  const fs::path store_path = config.labels.store.empty() ? fs::path(config.runs_dir) / "labels" : fs::path(config.labels.store);
  label_store::LabelStore store = label_store::LabelStore::open(store_path);
  judge::connect(judges, store_path / "batches");

  label::Budget budget(store.spent());
  const config::BudgetConfig& limits = config.labels.budget;
  budget.limit_store(
      {static_cast<std::int64_t>(std::llround(limits.cost_max * 1e6)), limits.requests_max, limits.tokens_max, "labels.budget"});
  label::Labeller labeller({target}, {pairs}, groups, judges, store, config.labels);
  label::Labeller::Watch watch;
  watch.stop = stop_requested;
  watch.progress = [&](const label::LabelProgress& progress) {
    const label::PointProgress& own = progress.points.front();
    if (own.total > 0)
      on_scored(name, static_cast<std::size_t>(std::max<std::int64_t>(1, own.known + own.answered + own.skipped)),
                static_cast<std::size_t>(own.total));
  };
  const label::LabellingEnd end = labeller.run(budget, watch);
  if (end.why != label::LabellingEnd::Why::complete)
    refuse(end, fmt::format("{}: asking the judges ended early: {}; all answers so far are stored in {}", name, end.message,
                            store_path.string()));

  ModelScores model{.name = name,
                    .source = "judges of " + config_file,
                    .items = std::vector<ItemScores>(data.items.size()),
                    .tokens_unknown = "only those paid now are counted"};
  label::PointQuestions questions(target, groups, judges, pairs, static_cast<std::int32_t>(config.labels.samples));
  label::visit_pairs(questions, store, judges, config.labels.vote == config::Vote::weights,
                     [&](const label::Slot& slot, const label::PairBallots& ballots) {
                       if (!ballots.skipped && ballots.complete)
                         model.items[slot.group].preferences[{slot.a, slot.b}] = preference_of(ballots);
                     });
  const label::LabelProgress& progress = labeller.progress();
  const judge::Usage& spent = progress.run;
  const label::PointProgress& own = progress.points.front();
  double asked = 0;  // each pair is several questions
  for (const label::GroupPairs& group : pairs) asked += static_cast<double>(group.pairs.size());
  if (own.total > 0) asked *= static_cast<double>(own.answered) / static_cast<double>(own.total);
  model.cost = ModelScores::Cost{spent.requests, spent.prompt_tokens + spent.completion_tokens,
                                 static_cast<double>(spent.cost_micros) * 1e-6, config.labels.currency, asked};
  return model;
}

}  // namespace dmoerm::eval
