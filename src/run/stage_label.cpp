#include "run/stage_label.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text_table.h"
#include "config/identity.h"
#include "label/judge_folder.h"
#include "label/label_report.h"
#include "label/progress_line.h"
#include "label/recall.h"
#include "label/reply_label.h"
#include "label/run_limits.h"
#include "label/store_to_look_at.h"
#include "plan/graph_builder.h"
#include "run/changes.h"
#include "run/groups_read.h"
#include "run/label_audit.h"
#include "run/label_gaps.h"
#include "run/round_figures.h"
#include "run/served_models.h"
#include "run/stage_gaps.h"
#include "run/stage_selection.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kVerdicts = "verdicts.jsonl";
constexpr const char* kReport = "report.json";
constexpr std::int64_t kQuicklyCounted = 10'000;  // questions

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

std::string task_of(const config::RunConfig& config, const std::string& category, const std::string& point, int round) {
  return plan::TaskId::label(category, point, plan::round_in_id(config, round)).text();
}

/// A folder in the one way in which two names of it are compared.
std::string place_of(const fs::path& folder) {
  std::error_code failed;
  const fs::path place = fs::weakly_canonical(fs::absolute(folder), failed);
  return (failed ? fs::absolute(folder) : place).string();
}

}  // namespace

fs::path label_store_path(const config::RunConfig& config) {
  return config.labels.store.empty() ? fs::path(config.runs_dir) / "labels" : fs::path(config.labels.store);
}

LabelStage::LabelStage(const config::RunConfig& config, RunDirectory directory, const std::vector<std::string>& only,
                       const data::TokenStore* store)
    : config_(config),
      directory_(std::move(directory)),
      store_path_(label_store_path(config)),
      targets_(label::targets_of(config)),
      rounds_(plan::label_rounds(config)) {
  const config::LabelsConfig& labels = config.labels;
  if (labels.judges.empty())
    throw ConfigError("no-judge", "labels.judges: no judge to ask: name at least one with its model and endpoints");
  judges_ = judge::make_judges(labels, label::judge_folder(), counter_of);
  for (const label::Target& target : targets_)
    static_cast<void>(judges_.front().answer_forms.front().criteria().find(target.category, target.point));  // throws if unknown
  for (int round = 1; round <= rounds_; ++round) {
    std::size_t number = 0;
    for (const config::CategoryConfig& c : config.categories) {
      for (std::size_t p = 0; p < c.points.size(); ++p) {
        Asking asking{number++, round, task_of(config, c.name, c.points[p], round), {}};
        for (const plan::TaskId& gaps : plan::gaps_before(config, c, p, round)) asking.chosen_by.push_back(gaps.text());
        askings_.push_back(std::move(asking));
      }
    }
  }
  if (!only.empty()) {
    for (const label::Target& target : label::targets_of(config, only))
      only_.insert(task_of(config, target.category, target.point, 1));
  }
  selection_ = selection_identity(config);
  const fs::path file = run_selection(config, directory_, selection_);
  if (store == nullptr) tell_selection(directory_);  // otherwise the run's ingest has told
  groups_ = std::make_unique<label::GroupFile>(file);
  groups_sha_ = sha256_file(file);
  read_ = groups_read(config, *groups_, store);
  std::string read_by_group;
  for (const bool is_read : read_) read_by_group += is_read ? '1' : '0';
  read_sha_ = sha256_hex(read_by_group);
  for (const Asking& asking : askings_) {
    TaskIdentity identity = identity_of(asking);
    if (asking.chosen_by.empty()) identity = directory_.with_revision(asking.task, std::move(identity));
    identities_.emplace(asking.task, std::move(identity));
  }
}

TaskIdentity LabelStage::identity_of(const Asking& asking) const {
  const label::Target& target = targets_[asking.target];
  const config::LabelsConfig& labels = config_.labels;
  TaskIdentity identity;
  identity.settings = {{"task", asking.task},
                       {"groups", groups_sha_},
                       {"groups_read", read_sha_},
                       {"prompt", judges_.front().answer_forms.front().judge_template().id()},
                       {"criterion", judges_.front().answer_forms.front().criteria().find(target.category, target.point)},
                       {"bundle", labels.pairs.bundle.empty() ? "" : sha256_file(fs::path(labels.pairs.bundle) / "dmoerm.json")},
                       {"settings", config::settings_that_affect(config_, config::Affects::labels)}};
  if (!trains_on(target)) identity.settings["train_groups"] = "left out: the point's expert is imported";
  if (rounds_ > 1) identity.settings["round"] = fmt::format("{} of {}", asking.round, rounds_);
  return identity;
}

bool LabelStage::trains_on(const label::Target& target) const {
  const auto category = std::ranges::find(config_.categories, target.category, &config::CategoryConfig::name);
  return category->imported(target.point).empty() || config_.base.labels == config::BaseLabels::all || config_.pooled_baseline;
}

std::vector<bool> LabelStage::read_of(const label::Target& target) const {
  std::vector<bool> read = read_;
  if (trains_on(target)) return read;
  for (std::size_t i = 0; i < read.size(); ++i) read[i] = read[i] && groups_->entries()[i].split != preference::Split::train;
  return read;
}

void LabelStage::identify(const std::map<std::string, TaskIdentity>& identities) {
  for (auto& [task, identity] : identities_) identity = identities.at(task);
}

std::set<std::string> LabelStage::first_round() const {
  std::set<std::string> tasks;
  for (const Asking& asking : askings_) {
    if (asking.round == 1 && (only_.empty() || only_.contains(asking.task))) tasks.insert(asking.task);
  }
  return tasks;
}

const std::vector<std::string>& LabelStage::chosen_by(const std::string& task) const {
  return std::ranges::find(askings_, task, &Asking::task)->chosen_by;
}

const std::vector<label::GroupPairs>& LabelStage::pairs_of(std::size_t number) {
  Asking& asking = askings_[number];
  if (asking.pairs) return *asking.pairs;
  const label::Target& target = targets_[asking.target];
  const config::PairChoiceConfig& choice = config_.labels.pairs;
  label::Gaps gaps;
  if (asking.round > 1) {
    gaps = gaps_of_round(gaps_file(directory_.task(asking.chosen_by.back())), target.point, *groups_, read_);
  } else if (choice.choose == config::PairChoice::uncertain && !choice.bundle.empty()) {
    if (!bundle_gaps_) bundle_gaps_ = expert_gaps(config_, *groups_, targets_, read_);
    gaps = (*bundle_gaps_)[target.category + "/" + target.point];
  }
  const std::vector<bool> read = read_of(target);
  asking.pairs = rounds_ == 1 ? label::choose_pairs(config_, *groups_, target, gaps, read)
                              : label::choose_pairs_of_round(
                                    config_, *groups_, target, {asking.round, rounds_},
                                    asking.round == 1 ? std::vector<label::GroupPairs>{} : pairs_of(before(number)), gaps, read);
  return *asking.pairs;
}

void LabelStage::choose_first() {
  for (std::size_t i = 0; i < targets_.size(); ++i) static_cast<void>(pairs_of(i));
  bundle_gaps_.reset();
}

label::PointQuestions LabelStage::questions(std::size_t asking) {
  return {targets_[askings_[asking].target], *groups_, judges_, pairs_of(asking),
          static_cast<std::int32_t>(config_.labels.samples)};
}

bool LabelStage::any_open() const {
  return std::ranges::any_of(identities_, [&](const auto& named) { return !directory_.done(named.first, named.second); });
}

void LabelStage::expect_same_settings(bool update) const {
  std::vector<IdentifiedTask> tasks;
  for (const std::string& task : first_round()) tasks.push_back({task, identities_.at(task)});
  const std::size_t trained = finished_by_ranks(directory_);
  static_cast<void>(stale_tasks(directory_, tasks, update || trained == 0, trained));
}

LabelStage::Asked LabelStage::select_all_rounds() {
  choose_first();
  Asked all = select(first_round());
  for (std::size_t i = 0; rounds_ > 1 && i < all.pairs.size(); ++i)
    all.pairs[i] = label::choose_pairs_of_round(config_, *groups_, all.targets[i], {rounds_, rounds_}, all.pairs[i], {},
                                                read_of(all.targets[i]));
  return all;
}

std::string LabelStage::estimate() {
  label::StoreToLookAt look(store_path_);
  take_up(*look.store, false);
  const Asked all = select_all_rounds();
  std::string table =
      label::estimate_table(label::estimate(all.targets, all.pairs, *groups_, judges_, *look.store, config_.labels),
                            config_.labels.currency, counted_with(config_.labels), label::judges_without_price(config_.labels));
  if (rounds_ > 1) {
    table += fmt::format(
        "\nThese are the requests of all {} rounds together. Which pairs {} about is known once the "
        "experts of the round before are trained; tokens and cost are those of pairs drawn at random.\n",
        rounds_, rounds_ == 2 ? "round 2 asks" : fmt::format("rounds 2 to {} ask", rounds_));
  }
  return table;
}

void LabelStage::write_point(std::size_t number) {
  const Asking& asking = askings_[number];
  const std::string& id = asking.task;
  label::PointVerdicts verdicts =
      label::read_verdicts(questions(number), *store_, judges_, config_.labels.vote == config::Vote::weights);
  TaskIdentity& identity = identities_.at(id);
  const fs::path folder = directory_.task(id);
  fs::create_directories(folder);
  label::write_verdicts(verdicts, folder / kVerdicts);
  const auto& outcomes = verdicts.vote.outcomes;
  json metrics = {{"pairs", verdicts.vote.pairs()}, {"believed", outcomes[0] + outcomes[1]}, {"not_asked", verdicts.not_asked}};
  if (asking.round > 1) {
    metrics.update(round_figures(verdicts, directory_.task(askings_[before(number)].task) / kVerdicts,
                                 gaps_file(directory_.task(asking.chosen_by.back()))));
  }
  identity = directory_.complete_revision(id, identity, {kVerdicts}, metrics);
  spdlog::info("[label] {} done: {}, {} believed ({:.1f} %)", id, counted(verdicts.vote.pairs(), "pair"),
               outcomes[0] + outcomes[1],
               100.0 * static_cast<double>(outcomes[0] + outcomes[1]) /
                   static_cast<double>(std::max<std::int64_t>(1, verdicts.vote.pairs())));
  verdicts.groups.clear();
  summaries_[number] = std::move(verdicts);
}

/// A table of the rounds that are done; empty if there is one round.
std::string LabelStage::rounds_table() const {
  if (rounds_ == 1) return "";
  std::vector<std::vector<std::string>> rows = {
      {"category", "point", "round", "pairs so far", "believed", "new believed", "as the experts who chose them"}};
  for (const Asking& asking : askings_) {
    if (!fs::exists(directory_.task(asking.task) / kVerdicts) || !directory_.done(asking.task, identities_.at(asking.task)))
      continue;
    const json metrics = directory_.metrics(asking.task);
    const auto compared = metrics.value("compared", std::int64_t{0});
    const auto text = [&](const char* key) { return metrics.contains(key) ? metrics.at(key).dump() : "-"; };
    rows.push_back({targets_[asking.target].category, targets_[asking.target].point, fmt::format("{}", asking.round),
                    text("pairs"), text("believed"), text("new_believed"),
                    compared > 0
                        ? fmt::format("{:.1f} %", 100 * metrics.at("experts_agree").get<double>() / static_cast<double>(compared))
                        : "-"});
  }
  return fmt::format(
      "\n## Rounds\n\nThe last column is the share of the new believed verdicts on train groups that order the pair as the "
      "experts of the round before do. These experts are least sure of these pairs, so near 50 % is to be expected.\n\n{}",
      markdown_table(rows));
}

bool LabelStage::has_pairs(const Asking& asking) const {
  return asking.pairs || (fs::exists(directory_.task(asking.task) / kVerdicts) &&
                          fs::exists(gaps_file(directory_.task(asking.chosen_by.back()))));
}

/// Each point with the pairs of its last round whose pairs are known.
void LabelStage::write_report(bool quickly) {
  std::vector<label::PointVerdicts> points;
  for (std::size_t target = 0; target < targets_.size(); ++target) {
    std::size_t last = target;
    for (std::size_t i = target + targets_.size(); i < askings_.size(); i += targets_.size()) {
      if (has_pairs(askings_[i])) last = i;
    }
    if (!summaries_.contains(last) && quickly && questions(last).size() > kQuicklyCounted) continue;
    if (!summaries_.contains(last)) {
      summaries_[last] = label::read_verdicts(questions(last), *store_, judges_, config_.labels.vote == config::Vote::weights);
      summaries_[last].groups.clear();
    }
    points.push_back(summaries_[last]);
  }
  const fs::path folder = directory_.task("label");
  const bool priced = label::judges_without_price(config_.labels).size() < config_.labels.judges.size();
  write_file_atomically(folder / "report.md",
                        label::report_page(points, store_->spent(), config_.labels.currency, priced, notes_) + rounds_table());
  json report = label::report_json(points, store_->spent(), config_.labels.currency);
  report["store"] = place_of(store_path_);
  report["served_models"] = models_after(folder / kReport, judges_, watches_);
  write_json_atomically(folder / kReport, report);
}

void LabelStage::open() {
  if (store_) return;
  expect_answers_of_verdicts();
  take_over(label_store::LabelStore::open(store_path_));
}

/// Refuse another store than that of the run's last labelling if it lacks answers that finished verdicts were made from: they
/// would be paid for again, and the verdicts and the report replaced. In the same store lost answers are asked for again.
void LabelStage::expect_answers_of_verdicts() {
  const fs::path report = directory_.task("label") / kReport;
  const json last = fs::exists(report) ? json::parse(read_file(report), nullptr, false) : json();
  const bool says = last.is_object() && last.contains("store") && last["store"].is_string();
  const std::string known = says ? last["store"].get<std::string>() : "";
  if (known == place_of(store_path_)) return;
  std::optional<label::StoreToLookAt> look;
  for (std::size_t i = 0; i < askings_.size(); ++i) {
    const Asking& asking = askings_[i];
    const fs::path verdicts = directory_.task(asking.task) / kVerdicts;
    if (!fs::exists(verdicts) || !directory_.done(asking.task, identities_.at(asking.task))) continue;
    if (asking.round > 1 && !has_pairs(asking)) continue;
    if (!look) look.emplace(store_path_);
    label::PointQuestions asked = questions(i);
    while (const auto slot = asked.next()) {
      const label::LookedUp found = asked.look_up(*slot, *look->store);
      if (found.skipped || found.answer != nullptr) continue;
      throw ConfigError(
          "labels-of-another-store",
          fmt::format("{}: this label store lacks an answer about {}, on which {} has a verdict{}: set labels.store (or --store) "
                      "to the store of these labels, or give the run another name; to pay for them again, remove {} first",
                      store_path_.string(), asked.pair_name(*slot), verdicts.string(),
                      known.empty() ? "" : fmt::format(" from the label store {}", known),
                      (directory_.root() / *fs::path(asking.task).begin()).string()));
    }
  }
}

void LabelStage::take_over(label_store::LabelStore store) {
  judge::connect(judges_, store.directory() / "batches");
  take_up(store, true);
  store_.emplace(std::move(store));
}

/// Open the store, or only look at it if it cannot be written and every question has an answer.
void LabelStage::open_or_look(const std::set<std::string>& tasks) {
  try {
    open();
  } catch (const IoError& e) {
    if (!label::is_not_writable(e) || !fs::exists(store_path_)) throw;
    auto view = std::make_shared<label::StoreToLookAt>(store_path_);
    take_up(*view->store, false);
    const Asked asked = select(tasks);
    const judge::Usage left =
        most_of(label::estimate(asked.targets, asked.pairs, *groups_, judges_, *view->store, config_.labels));
    if (left.requests > 0) throw;
    spdlog::info("[label] the label store {} cannot be written, which is not needed: every question has an answer",
                 store_path_.string());
    take_over(std::move(*view->store));
    view_ = std::move(view);
  }
}

/// Read stored replies as this version reads them, and mark those that are to be asked for again.
void LabelStage::take_up(label_store::LabelStore& store, bool remember) const {
  const std::int64_t read = store.read_again([&](const label_store::Label& label) { return label::read_again(judges_, label); });
  if (read > 0) spdlog::info("[label] {} stored replies that had no verdict are read as meant now, at no cost", read);
  label::compare_with_notes(store, judges_, config_.labels.useless_max, remember);
}

void LabelStage::close() {
  for (judge::Judge& judge : judges_) judge.backend.reset();  // batches lie in the store's folder
  store_.reset();
  view_.reset();
}

LabelStage::Asked LabelStage::select(const std::set<std::string>& tasks) {
  Asked asked;
  for (std::size_t i = 0; i < askings_.size(); ++i) {
    if (!tasks.contains(askings_[i].task)) continue;
    asked.numbers.push_back(i);
    asked.tasks.push_back(askings_[i].task);
    asked.targets.push_back(targets_[askings_[i].target]);
    asked.pairs.push_back(pairs_of(i));
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
  for (judge::Judge& judge : judges_) judge.served_before = models_in(directory_.task("label") / kReport, judge.config.model);
  label::Labeller labeller(asked.targets, asked.pairs, *groups_, judges_, *store_, settings);
  labeller.go_on_with(std::exchange(watches_, {}));
  label::ProgressLine line(config_.labels.currency, how.terminal);
  label::Labeller::Watch watch;
  watch.stop = how.stop;
  watch.point_done = point_done;
  watch.progress = [&](const label::LabelProgress& progress) {
    line.update(progress);
    if (how.progress) how.progress(progress, asked.tasks);
  };
  const label::LabellingEnd end = labeller.run(budget, watch);
  line.update(labeller.progress(), true);
  notes_ = labeller.progress().notes;
  watches_ = labeller.watches();
  return end;
}

label::LabellingEnd LabelStage::run(const Run& how) {
  const std::set<std::string> tasks = how.tasks.empty() ? first_round() : how.tasks;
  open_or_look(tasks);
  const Asked asked = select(tasks);
  label::Budget limits = budget(how.limits);
  const label::LabellingEnd end = ask(asked, limits, how, config_.labels, [&](std::size_t i) {
    write_point(asked.numbers[i]);
    if (how.point_done) how.point_done(asked.tasks[i]);
  });
  store_->seal();
  write_report(end.why == label::LabellingEnd::Why::stopped);
  return end;
}

std::vector<label::AuditedPairs> LabelStage::draw_audit(std::int64_t pairs) {
  const Asked planned = select(first_round());
  std::vector<label::AuditedPairs> about = label::draw_audit(config_, *groups_, planned.targets, planned.pairs, read_, pairs);
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
  label::StoreToLookAt look(store_path_);
  take_up(*look.store, false);
  const Asked asked = questions_of(draw_audit(pairs));
  return label::estimate_table(label::estimate(asked.targets, asked.pairs, *groups_, judges_, *look.store, config_.labels),
                               config_.labels.currency, counted_with(config_.labels),
                               label::judges_without_price(config_.labels));
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
  patient.soft = true;  // a judge that goes by the place alone is what an audit is to show
  const label::LabellingEnd end = ask(asked, limits, how, patient, {});
  store_->seal();
  Audit found;
  for (const label::AuditedPairs& point : about)
    found.points.push_back(label::read_audit(point, *groups_, *store_, judges_, config_.labels));
  found.cost = {limits.run(), store_->spent(), most(select_all_rounds()), {}};
  found.cost.rest_likely = likely_cost(found.cost.rest_most, limits.run(), before, before.requests - most(asked).requests);
  if (const auto& likely = found.cost.rest_likely) raise_to(found.cost.rest_most, *likely);
  found.currency = config_.labels.currency;
  found.priced = label::judges_without_price(config_.labels).empty();
  found.ended = end.message;
  found.cost_max = config_.labels.budget.cost_max;
  found.seed = config_.seed;
  const fs::path folder = directory_.task("label");
  write_file_atomically(folder / "audit.md", audit_page(found));
  write_json_atomically(folder / "audit.json", audit_json(found));
  return end;
}

}  // namespace dmoerm::run
