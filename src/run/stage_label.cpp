#include "run/stage_label.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/program_files.h"
#include "config/identity.h"
#include "label/label_report.h"
#include "label/progress_line.h"
#include "label/reply_label.h"
#include "run/groups_read.h"
#include "run/label_audit.h"
#include "run/label_gaps.h"
#include "run/stage_selection.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kVerdicts = "verdicts.jsonl";
constexpr std::int64_t kQuicklyCounted = 10'000;  // questions

fs::path judge_folder() {
  const char* folder = std::getenv("DMOERM_JUDGE_DIR");
  return folder != nullptr && *folder != 0 ? fs::path(folder) : program_folder() / "configs" / "judge";
}

judge::TokenCounter counter_of(const std::string& directory) {
  const auto tokenizer =
      std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(fs::path(directory) / "tokenizer.json"));
  return [tokenizer](std::string_view text) { return static_cast<std::int64_t>(tokenizer->encode(text, false).size()); };
}

std::string counted_with(const config::LabelsConfig& labels) {
  std::string text;
  for (const config::JudgeConfig& judge : labels.judges) {
    text += (text.empty() ? "" : "; ") + judge.model + ": " +
            (judge.tokenizer.empty() ? "an estimate (about 6 letters a token, which is rather too high)" : judge.tokenizer);
  }
  return text;
}

/// A store for the dry run: the real one, or an empty temporary one.
class StoreToLookAt {
 public:
  explicit StoreToLookAt(const fs::path& path)
      : made_(!fs::exists(path)), path_(made_ ? temporary_name(fs::temp_directory_path() / "dmoerm-labels") : path) {
    store.emplace(label_store::LabelStore::open(path_));
  }
  ~StoreToLookAt() {
    store.reset();
    std::error_code ignored;
    if (made_) fs::remove_all(path_, ignored);
  }
  StoreToLookAt(const StoreToLookAt&) = delete;
  StoreToLookAt& operator=(const StoreToLookAt&) = delete;

  std::optional<label_store::LabelStore> store;

 private:
  bool made_;
  fs::path path_;
};

}  // namespace

fs::path label_store_path(const config::RunConfig& config) {
  return config.labels.store.empty() ? fs::path(config.runs_dir) / "labels" : fs::path(config.labels.store);
}

LabelStage::LabelStage(const config::RunConfig& config, RunDirectory directory, const std::vector<std::string>& only,
                       const data::TokenStore* store)
    : config_(config),
      data_store_(store),
      directory_(std::move(directory)),
      store_path_(label_store_path(config)),
      targets_(label::targets_of(config)) {
  if (!only.empty()) {
    for (const label::Target& target : label::targets_of(config, only)) only_.insert(task(target));
  }
  const config::LabelsConfig& labels = config.labels;
  if (labels.judges.empty())
    throw ConfigError("no-judge", "labels.judges: no judge to ask: name at least one with its model and endpoints");
  judges_ = judge::make_judges(labels, judge_folder(), counter_of);
  for (const label::Target& target : targets_)
    static_cast<void>(judges_.front().answer_forms.front().criteria().find(target.category, target.point));  // throws if unknown
  selection_ = selection_identity(config);
  const fs::path file = run_selection(config, directory_, selection_);
  groups_ = std::make_unique<label::GroupFile>(file);
  const std::vector<bool> read = groups_read(config, *groups_, store);
  std::string read_by_group;
  for (const bool is_read : read) read_by_group += is_read ? '1' : '0';
  std::map<std::string, label::Gaps> gaps;
  if (labels.pairs.choose == config::PairChoice::uncertain) gaps = expert_gaps(config, *groups_, targets_, read);
  const std::string groups_sha = sha256_file(file);
  for (const label::Target& target : targets_) {
    pairs_.push_back(label::choose_pairs(config, *groups_, target, gaps[task(target)], read));
    TaskIdentity identity;
    identity.settings = {
        {"task", task(target)},
        {"groups", groups_sha},
        {"groups_read", sha256_hex(read_by_group)},
        {"prompt", judges_.front().answer_forms.front().judge_template().id()},
        {"criterion", judges_.front().answer_forms.front().criteria().find(target.category, target.point)},
        {"bundle", labels.pairs.bundle.empty() ? "" : sha256_file(fs::path(labels.pairs.bundle) / "dmoerm.json")},
        {"settings", config::settings_that_affect(config, config::Affects::labels)}};
    identities_.emplace(task(target), directory_.with_revision(task(target), std::move(identity)));
  }
}

label::PointQuestions LabelStage::questions(std::size_t target) const {
  return {targets_[target], *groups_, judges_, pairs_[target], static_cast<std::int32_t>(config_.labels.samples)};
}

bool LabelStage::any_open() const {
  return std::ranges::any_of(identities_, [&](const auto& named) { return !directory_.done(named.first, named.second); });
}

std::string LabelStage::estimate() {
  StoreToLookAt look(store_path_);
  const Asked asked = select(only_);
  return label::estimate_table(label::estimate(asked.targets, asked.pairs, *groups_, judges_, *look.store, config_.labels),
                               config_.labels.currency, counted_with(config_.labels));
}

void LabelStage::write_point(std::size_t target) {
  const std::string id = task(targets_[target]);
  label::PointVerdicts verdicts =
      label::read_verdicts(questions(target), *store_, judges_, config_.labels.vote == config::Vote::weights);
  TaskIdentity& identity = identities_.at(id);
  const fs::path folder = directory_.task(id);
  fs::create_directories(folder);
  label::write_verdicts(verdicts, folder / kVerdicts);
  const auto& outcomes = verdicts.vote.outcomes;
  identity = directory_.complete_revision(
      id, identity, {kVerdicts},
      {{"pairs", verdicts.vote.pairs()}, {"believed", outcomes[0] + outcomes[1]}, {"not_asked", verdicts.not_asked}});
  spdlog::info("[label] {} done: {} pairs, {} believed ({:.1f} %)", id, verdicts.vote.pairs(), outcomes[0] + outcomes[1],
               100.0 * static_cast<double>(outcomes[0] + outcomes[1]) /
                   static_cast<double>(std::max<std::int64_t>(1, verdicts.vote.pairs())));
  verdicts.groups.clear();
  summaries_[target] = std::move(verdicts);
}

void LabelStage::write_report(bool quickly) {
  std::vector<label::PointVerdicts> points;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (!summaries_.contains(i) && quickly && questions(i).size() > kQuicklyCounted) continue;
    if (!summaries_.contains(i)) {
      summaries_[i] = label::read_verdicts(questions(i), *store_, judges_, config_.labels.vote == config::Vote::weights);
      summaries_[i].groups.clear();
    }
    points.push_back(summaries_[i]);
  }
  const fs::path folder = directory_.task("label");
  write_file_atomically(folder / "report.md", label::report_page(points, store_->spent(), config_.labels.currency, notes_));
  write_json_atomically(folder / "report.json", label::report_json(points, store_->spent(), config_.labels.currency));
}

void LabelStage::open() {
  if (store_) return;
  label_store::LabelStore store = label_store::LabelStore::open(store_path_);
  judge::connect(judges_, store_path_ / "batches");
  const std::int64_t read = store.read_again([&](const label_store::Label& label) { return label::read_again(judges_, label); });
  if (read > 0) spdlog::info("[label] {} stored replies that had no verdict are read as meant now, at no cost", read);
  store_.emplace(std::move(store));
}

LabelStage::Asked LabelStage::select(const std::set<std::string>& tasks) const {
  Asked asked;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (!tasks.empty() && !tasks.contains(task(targets_[i]))) continue;
    asked.numbers.push_back(i);
    asked.targets.push_back(targets_[i]);
    asked.pairs.push_back(pairs_[i]);
  }
  return asked;
}

label::Budget LabelStage::budget(const label::SpendLimits& limits) const {
  label::Budget budget(store_->spent());
  const config::BudgetConfig& b = config_.labels.budget;
  budget.limit_store({static_cast<std::int64_t>(std::llround(b.cost_max * 1e6)), b.requests_max, b.tokens_max, "labels.budget"});
  budget.limit_run(limits);
  return budget;
}

label::LabellingEnd LabelStage::ask(const Asked& asked, label::Budget& budget, const Run& how,
                                    const config::LabelsConfig& settings, const std::function<void(std::size_t)>& point_done) {
  label::Labeller labeller(asked.targets, asked.pairs, *groups_, judges_, *store_, settings);
  label::ProgressLine line(config_.labels.currency, how.terminal);
  label::Labeller::Watch watch;
  watch.stop = how.stop;
  watch.point_done = point_done;
  watch.progress = [&](const label::LabelProgress& progress) {
    line.update(progress);
    if (how.progress) how.progress(progress);
  };
  const label::LabellingEnd end = labeller.run(budget, watch);
  line.update(labeller.progress(), true);
  notes_ = labeller.progress().notes;
  return end;
}

label::LabellingEnd LabelStage::run(const Run& how) {
  open();
  const Asked asked = select(how.tasks.empty() ? only_ : how.tasks);
  label::Budget limits = budget(how.limits);
  const label::LabellingEnd end = ask(asked, limits, how, config_.labels, [&](std::size_t target) {
    write_point(asked.numbers[target]);
    if (how.point_done) how.point_done(task(asked.targets[target]));
  });
  store_->seal();
  write_report(end.why == label::LabellingEnd::Why::stopped);
  return end;
}

std::vector<label::AuditedPairs> LabelStage::draw_audit(std::int64_t pairs) {
  const Asked planned = select(only_);
  std::vector<label::AuditedPairs> about =
      label::draw_audit(config_, *groups_, planned.targets, planned.pairs, groups_read(config_, *groups_, data_store_), pairs);
  if (std::ranges::all_of(about, [](const label::AuditedPairs& point) { return point.pairs.empty(); }))
    throw DataError("audit-without-human-labels",
                    "an audit compares judges with the data's human labels, and these order no pair of the groups that training "
                    "reads: give rows with a chosen and a rejected response or with scores, or lower score_gap_min; to look at a "
                    "few verdicts yourself, label with --set labels.pairs.pairs_max=20 and read `dmoerm label-store export`");
  return about;
}

LabelStage::Asked LabelStage::questions_of(const std::vector<label::AuditedPairs>& about) {
  Asked asked;
  for (const label::AuditedPairs& point : about) {
    asked.targets.push_back(point.target);
    asked.pairs.push_back(point.pairs);
  }
  return asked;
}

std::string LabelStage::audit_estimate(std::int64_t pairs) {
  StoreToLookAt look(store_path_);
  const Asked asked = questions_of(draw_audit(pairs));
  return label::estimate_table(label::estimate(asked.targets, asked.pairs, *groups_, judges_, *look.store, config_.labels),
                               config_.labels.currency, counted_with(config_.labels));
}

label::LabellingEnd LabelStage::audit(std::int64_t pairs, const Run& how) {
  const std::vector<label::AuditedPairs> about = draw_audit(pairs);
  open();
  const auto most = [&](const Asked& asked) {
    return most_of(label::estimate(asked.targets, asked.pairs, *groups_, judges_, *store_, config_.labels));
  };
  const Asked asked = questions_of(about);
  const judge::Usage before = most(asked);
  label::Budget limits = budget(how.limits);
  config::LabelsConfig patient = config_.labels;
  patient.useless_max = 1;  // a judge that goes by the place alone is what an audit is to show
  const label::LabellingEnd end = ask(asked, limits, how, patient, {});
  store_->seal();
  Audit found;
  for (const label::AuditedPairs& point : about)
    found.points.push_back(label::read_audit(point, *groups_, *store_, judges_, config_.labels));
  found.cost = {limits.run(), store_->spent(), most(select(only_)), {}};
  found.cost.rest_likely = likely_cost(found.cost.rest_most, limits.run(), before);
  found.currency = config_.labels.currency;
  found.ended = end.message;
  found.cost_max = config_.labels.budget.cost_max;
  found.seed = config_.seed;
  const fs::path folder = directory_.task("label");
  write_file_atomically(folder / "audit.md", audit_page(found));
  write_json_atomically(folder / "audit.json", audit_json(found));
  return end;
}

}  // namespace dmoerm::run
