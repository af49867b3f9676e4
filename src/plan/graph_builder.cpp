#include "plan/graph_builder.h"

#include <algorithm>
#include <cmath>

#include "plan/task_load.h"
#include "plan/training_steps.h"

namespace dmoerm::plan {
namespace {

constexpr int kRanksMax = 64;
constexpr const char* kBackbone = "backbone";  // what ranks hold that have loaded the pretrained weights

/// Models that are read beside the experts of a category: its base, or none.
int base_rewards(const config::RunConfig& config) { return config.aggregator.base_reward ? 1 : 0; }

/// Tokens of a training.
double tokens_of(const config::TrainConfig& train, std::int64_t steps, const GroupSizes& groups) {
  return static_cast<double>(steps * train.groups_per_step) * groups.tokens;
}

/// Steps of a model of phase 1 that take about as many tokens, at least one.
std::int64_t steps_for(const config::RunConfig& config, double tokens, const GroupSizes& groups) {
  const double in_a_step = tokens_of(config.base, 1, groups);
  return in_a_step > 0 ? std::max<std::int64_t>(1, std::llround(tokens / in_a_step)) : 1;
}

/// The groups of phase 1 that a task trains on, of all of them: those outside of its fold.
GroupSizes trained_of(const config::RunConfig& config, const TaskId& task, GroupSizes groups) {
  if (task.fold == 0) return groups;
  const double share = 1 - 1.0 / static_cast<double>(config.folds);
  groups.groups *= share;
  groups.epoch_groups *= share;
  return groups;
}

/// Whether a task reads what the other left although that is not part of its identity. Were it lost and made again, the task
/// waits for it. The bundle waits for the report, and so for all.
bool also_waits_for(TaskKind task, TaskKind other) {
  if (task == TaskKind::eval) return other == TaskKind::expert_set || other == TaskKind::base;
  if (task == TaskKind::report) return other != TaskKind::eval && !is_external(other);
  return false;
}

}  // namespace

std::vector<TaskNode> GraphBuilder::build() {
  nodes_.clear();
  add_external(TaskId::ingest(), {});
  if (!config_.labels.judges.empty()) {
    add_external(TaskId::selection(), {});
    for (const config::CategoryConfig& c : config_.categories) {
      for (const std::string& point : c.points)
        add_external(TaskId::label(c.name, point, round_in_id(config_, 1)), {TaskId::selection()});
    }
  }
  const bool by_rewards = config_.router.kind == config::RouterKind::reward;
  if (!by_rewards) add_router();
  const double before = add_base_of_all() / static_cast<double>(std::max<std::size_t>(1, config_.categories.size()));
  double tokens = 0;
  for (const config::CategoryConfig& c : config_.categories) tokens += add_category(c, before);
  if (by_rewards) add_rated_router();
  add_model(TaskId::single(), Subset::train, steps_for(config_, tokens, sizes_.overall("", Subset::train)));
  std::vector<TaskId> evals;
  for (const config::CategoryConfig& c : config_.categories) {
    add_eval(c);
    evals.push_back(nodes_.back().id);
  }
  add(TaskId::report(), evals, "", 1, fixed_load(0.1));
  add(TaskId::bundle(), {TaskId::report()}, kBackbone, 1, fixed_load(1));
  return std::move(nodes_);
}

void GraphBuilder::add(TaskId id, std::vector<TaskId> reads, const std::string& base, int ranks_max, const Load& load) {
  Task task;
  task.id = id.text();
  task.base = base;
  task.ranks_max = ranks_max;
  for (const TaskId& input : reads) task.inputs.push_back(input.text());
  // All others wait for tasks that wait for it.
  if (std::ranges::all_of(reads, [](const TaskId& input) { return is_external(input.kind); }))
    task.inputs.push_back(TaskId::ingest().text());
  for (const TaskNode& other : nodes_) {
    const bool waits = also_waits_for(id.kind, other.id.kind);
    if (waits && std::ranges::find(task.inputs, other.task.id) == task.inputs.end()) task.inputs.push_back(other.task.id);
  }
  nodes_.push_back({.id = std::move(id), .reads = std::move(reads), .task = std::move(task), .load = load});
}

/// @param waits_for  tasks that it waits for; those that it reads are among them
void GraphBuilder::add_external(TaskId id, const std::vector<TaskId>& waits_for, std::vector<TaskId> reads) {
  Task task;
  task.id = id.text();
  task.external = true;
  for (const TaskId& input : waits_for) task.inputs.push_back(input.text());
  nodes_.push_back({.id = std::move(id), .reads = std::move(reads), .task = std::move(task)});
}

/// A model of phase 1 or a baseline. @param steps  0: as configured. @return tokens that it may take
double GraphBuilder::add_model(const TaskId& id, Subset subset, std::int64_t steps) {
  const GroupSizes all = taught(id, subset), training = trained_of(config_, id, all),
                   validation = sizes_.overall(id.category, Subset::validation);
  if (steps == 0) steps = training_steps(config_.base, training.epoch_groups);
  std::vector<TaskId> reads;
  if (!config_.labels.judges.empty()) reads = point_labels_of(config_, id);
  std::string weights = kBackbone;
  if (const std::optional<TaskId> start = starts_from(config_, id)) {
    weights = weights_of(*start);
    reads.push_back(*start);
  }
  add(id, std::move(reads), weights, kRanksMax,
      training_load(config_.base, config_.cluster, training, validation, static_cast<double>(steps), 1, config_.head.start));
  nodes_.back().steps = steps;
  return tokens_of(config_.base, steps, all);
}

/// The groups that teach a model of phase 1 or a baseline, with those of its fold.
GroupSizes GraphBuilder::taught(const TaskId& model, Subset subset) const {
  return point_labels_of(config_, model).empty() ? sizes_.overall(model.category, subset)
                                                 : sizes_.all_labels(model.category, subset);
}

/// The model that the bases of all categories start from, if they do. @return tokens that it may take
double GraphBuilder::add_base_of_all() {
  if (config_.base.start != config::BaseStart::all_categories) return 0;
  const double tokens = add_model(TaskId::base_of_all(), Subset::phase1);
  for (std::int32_t fold = 1; fold <= config_.folds; ++fold) add_model(TaskId::base_of_all(fold), Subset::phase1);
  return tokens;
}

/// The router that reads prompts alone.
void GraphBuilder::add_router() {
  GroupSizes prompts = sizes_.overall("", Subset::train);
  prompts.tokens *= kPromptShare * config_.router.depth;
  prompts.plain_tokens = prompts.tokens;
  Load load = reading_load(config_.base, prompts, 1);
  load.written_states = router_states();
  add(TaskId::router(), {}, kBackbone, 1, load);
}

double GraphBuilder::router_states() const {
  return sizes_.overall("", Subset::train).groups + sizes_.overall("", Subset::validation).groups;
}

/// The router that also reads what the bases of all categories say of the groups that they were not trained on.
void GraphBuilder::add_rated_router() {
  std::vector<TaskId> bases;
  double rated = 0;
  for (const config::CategoryConfig& c : config_.categories) {
    for (std::int64_t fold = 0; fold <= config_.folds; ++fold)
      bases.push_back(TaskId::base(c.name, static_cast<std::int32_t>(fold)));
    rated += sizes_.overall(c.name, Subset::phase3).groups + sizes_.overall(c.name, Subset::validation).groups;
  }
  GroupSizes read = sizes_.overall("", Subset::train);
  const double prompts = read.groups * kPromptShare * config_.router.depth;
  read.groups = rated;
  Load load = reading_load(config_.base, read, static_cast<int>(config_.categories.size()));
  load.whole_read_groups = prompts;
  load.written_states = router_states();
  add(TaskId::router(), std::move(bases), kBackbone, kRanksMax, load);
}

/// Base, experts, features, aggregator and baselines of a category. @param tokens  the category's share of those that what its
/// base starts from may take. @return these and the tokens that base and experts may take, and so may each baseline
double GraphBuilder::add_category(const config::CategoryConfig& c, double tokens) {
  tokens += add_model(TaskId::base(c.name), Subset::phase1);
  const std::string base = weights_of(nodes_.back().id);
  std::vector<TaskId> sets = expert_sets(config_, c);
  for (const TaskId& experts : sets) tokens += add_rounds(c, experts, base) + add_experts(c, experts, base);
  for (std::int32_t fold = 1; fold <= config_.folds; ++fold) add_fold(c, fold, sets);
  const auto points = static_cast<int>(c.points.size());
  const GroupSizes phase3 = sizes_.overall(c.name, Subset::phase3), validation = sizes_.overall(c.name, Subset::validation);
  // The experts of all train groups and those of each fold read the validation groups.
  const double validated = static_cast<double>(1 + config_.folds) * validation.groups;
  GroupSizes read = phase3;
  read.groups += validated;
  Load features = reading_load(config_.experts.train, read, points + base_rewards(config_));
  const double responses = phase3.groups * phase3.responses + validated * validation.responses;
  features.written_states = responses * points + read.groups;  // none of the base, of which only rewards are written
  features.written_numbers = responses * (features.models + 1);
  add(TaskId::features(c.name), sets, base, kRanksMax, features);
  add(TaskId::aggregator(c.name), {TaskId::features(c.name)}, "", 1,
      fitting_load(config_.aggregator, phase3, validation, points));
  std::vector<TaskId> baselines;
  if (config_.baselines) baselines.push_back(TaskId::category_baseline(c.name));
  if (config_.pooled_baseline) baselines.push_back(TaskId::pooled_baseline(c.name));
  for (const TaskId& id : baselines) add_model(id, Subset::train, steps_for(config_, tokens, taught(id, Subset::train)));
  return tokens;
}

/// The weights that the experts of a base's task adapt.
std::string GraphBuilder::weights_of(const TaskId& base) const {
  return config_.base.tuning == config::Tuning::full ? base.text() : kBackbone;
}

/// Base and experts of a category without the prompts of one fold. @param sets  expert sets that the features read; gets the
/// fold's after those of all train groups
void GraphBuilder::add_fold(const config::CategoryConfig& c, std::int32_t fold, std::vector<TaskId>& sets) {
  add_model(TaskId::base(c.name, fold), Subset::phase1);
  const std::string base = weights_of(nodes_.back().id);
  for (const TaskId& experts : expert_sets(config_, c)) {
    sets.push_back(TaskId::expert(c.name, experts.points, 0, fold));
    add_experts(c, sets.back(), base);
  }
}

/// The rounds before the last one: in each the set's experts, what they think of the groups that may be labelled, and the labels
/// that are chosen by that. @return tokens that the experts of these rounds may take together
double GraphBuilder::add_rounds(const config::CategoryConfig& c, const TaskId& experts, const std::string& base) {
  double tokens = 0;
  for (int round = 1; round < label_rounds(config_); ++round) {
    tokens += add_experts(c, TaskId::expert(c.name, experts.points, round), base);
    add(TaskId::gaps(c.name, experts.points, round), {nodes_.back().id}, base, kRanksMax,
        reading_load(config_.experts.train, sizes_.labelled(c.name, experts.points.front()),
                     static_cast<int>(experts.points.size())));
    const TaskId gaps = nodes_.back().id;
    for (const std::string& point : experts.points) {
      const auto place = static_cast<std::size_t>(std::ranges::find(c.points, point) - c.points.begin());
      std::vector<TaskId> waits_for = gaps_before(config_, c, place, round + 1);
      waits_for.push_back(TaskId::selection());
      add_external(TaskId::label(c.name, point, round_in_id(config_, round + 1)), waits_for, {gaps});
    }
  }
  return tokens;
}

/// @return tokens that all experts of the set may take. Where judges label they are those of all groups, so that the baselines'
/// budget is not below the experts'
double GraphBuilder::add_experts(const config::CategoryConfig& c, const TaskId& experts, const std::string& base) {
  double tokens = 0, mean_steps = 0;
  GroupSizes mean;  // over the points that are trained
  std::vector<TaskId> reads = {TaskId::base(c.name, experts.fold)};
  const auto is_trained = [&](const std::string& point) { return c.imported(point).empty(); };
  const auto trained = static_cast<int>(std::ranges::count_if(experts.points, is_trained));
  const double share = 1.0 / std::max(1, trained);
  for (const std::string& point : experts.points) {
    if (!config_.labels.judges.empty()) reads.push_back(TaskId::label(c.name, point, experts.round));
    if (!is_trained(point)) continue;
    const GroupSizes labelled = trained_of(config_, experts, sizes_.labelled(c.name, point));
    const std::int64_t own = training_steps(config_.experts.train, labelled.epoch_groups);
    tokens += tokens_of(config_.experts.train, own, labelled);
    mean_steps += share * static_cast<double>(own);
    mean.groups += share * labelled.groups;
    mean.tokens += share * labelled.tokens;
    mean.plain_tokens += share * labelled.plain_tokens;
    mean.responses += share * labelled.responses;
  }
  const GroupSizes validation = sizes_.overall(c.name, Subset::validation);
  add(experts, std::move(reads), base, kRanksMax,
      trained > 0
          ? training_load(config_.experts.train, config_.cluster, mean, validation, mean_steps, trained, config_.head.start)
          : reading_load(config_.experts.train, validation, static_cast<int>(experts.points.size())));
  // The labels wait for these gaps. A plan, in which labels cost no time, needs to know it too.
  const int before = experts.round > 0 ? experts.round - 1 : label_rounds(config_) - 1;
  if (before > 0) nodes_.back().task.inputs.push_back(TaskId::gaps(c.name, experts.points, before).text());
  return tokens;
}

void GraphBuilder::add_eval(const config::CategoryConfig& c) {
  std::vector<TaskId> reads = {TaskId::router(), TaskId::single(), TaskId::base(c.name)};
  for (const config::CategoryConfig& other : config_.categories)
    reads.push_back(TaskId::aggregator(other.name));  // a prompt may be routed to any of them
  if (config_.baselines) reads.push_back(TaskId::category_baseline(c.name));
  if (config_.pooled_baseline) reads.push_back(TaskId::pooled_baseline(c.name));
  double other_models = 0;
  for (const config::CategoryConfig& other : config_.categories)
    other_models += other.name == c.name ? 0 : static_cast<double>(other.points.size()) + base_rewards(config_);
  if (config_.categories.size() > 1) other_models /= static_cast<double>(config_.categories.size() - 1);
  const int parts = static_cast<int>(c.points.size()) + base_rewards(config_);
  const int alone = 2 + (config_.baselines ? 1 : 0) + (config_.pooled_baseline ? 1 : 0) - base_rewards(config_);
  const bool one_pass =
      config_.base.tuning == config::Tuning::lora && config_.base.lora_layers == config_.experts.train.lora_layers;
  add(TaskId::eval(c.name), std::move(reads), kBackbone, kRanksMax,
      evaluation_load(config_.experts.train, sizes_.overall(c.name, Subset::test), parts + (one_pass ? alone : 0), other_models,
                      one_pass ? 0 : alone, config_.router.mix_top));
}

int label_rounds(const config::RunConfig& config) {
  const bool several = !config.labels.judges.empty() && config.labels.pairs.choose == config::PairChoice::uncertain;
  return several ? static_cast<int>(config.labels.rounds) : 1;
}

std::int32_t round_in_id(const config::RunConfig& config, int round) { return round < label_rounds(config) ? round : 0; }

std::vector<TaskId> gaps_before(const config::RunConfig& config, const config::CategoryConfig& category, std::size_t point,
                                int round) {
  std::vector<TaskId> gaps;
  for (int before = 1; before < round; ++before)
    gaps.push_back(TaskId::gaps(category.name, expert_set_of(config, category, point).points, before));
  return gaps;
}

std::vector<TaskId> expert_sets(const config::RunConfig& config, const config::CategoryConfig& category) {
  std::vector<TaskId> sets;
  const auto size = static_cast<std::size_t>(config.experts.per_task);
  for (std::size_t p = 0; p < category.points.size(); ++p) {
    if (p % size == 0) sets.push_back(TaskId::expert(category.name, {}));
    sets.back().points.push_back(category.points[p]);
  }
  return sets;
}

TaskId expert_set_of(const config::RunConfig& config, const config::CategoryConfig& category, std::size_t point) {
  return expert_sets(config, category).at(point / static_cast<std::size_t>(config.experts.per_task));
}

std::vector<TaskId> point_labels_of(const config::RunConfig& config, const TaskId& model) {
  const bool pooled = model.kind == TaskKind::pooled_baseline,
             base = model.kind == TaskKind::base || model.kind == TaskKind::base_of_all;
  std::vector<TaskId> labels;
  if (!pooled && !(base && config.base.labels == config::BaseLabels::all)) return labels;
  for (const config::CategoryConfig& c : config.categories) {
    if (!model.category.empty() && c.name != model.category) continue;
    for (const std::string& point : c.points) labels.push_back(TaskId::label(c.name, point, pooled ? 0 : round_in_id(config, 1)));
  }
  return labels;
}

std::optional<TaskId> starts_from(const config::RunConfig& config, const TaskId& model) {
  if (model.kind != TaskKind::base || config.base.start != config::BaseStart::all_categories) return std::nullopt;
  return TaskId::base_of_all(model.fold);
}

TaskGraph priced_graph(const std::vector<TaskNode>& nodes, const ModelShape& model, const DeviceModel& device,
                       std::int64_t micro_batch_tokens) {
  TaskGraph graph;
  for (const TaskNode& node : nodes) {
    Task task = node.task;
    if (!task.external) price(task, node.load, model, device, micro_batch_tokens);
    graph.add(task);
  }
  return graph;
}

}  // namespace dmoerm::plan
