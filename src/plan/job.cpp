#include "plan/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace dmoerm::plan {
namespace {

/// Builds the list in the order of train::plan_tasks().
class Estimate {
 public:
  Estimate(const config::RunConfig& config, const JobSizes& sizes) : config_(config), sizes_(sizes) {}

  std::vector<SizedTask> build() {
    const auto categories = static_cast<double>(config_.categories.size());
    add("router", {}, "backbone", 1, reading_load(config_.base, {categories * train(), 0.5 * sizes_.tokens_per_group, 0}, 1));
    double all_steps = 0;
    for (const config::CategoryConfig& c : config_.categories) all_steps += add_category(c);
    add_model("single", categories * train(), all_steps);
    std::vector<std::string> evals;
    for (const config::CategoryConfig& c : config_.categories) evals.push_back(add_eval(c));
    Load report;
    report.seconds = 0.1;
    add("report", evals, "", 1, report);
    return std::move(tasks_);
  }

 private:
  [[nodiscard]] double train() const { return sizes_.groups_per_category; }
  /// Groups of a split beside the train groups.
  [[nodiscard]] double beside(double share) const {
    return train() * share / std::max(0.1, 1 - config_.data.validation_share - config_.data.test_share);
  }
  [[nodiscard]] GroupSizes groups(double count) const { return {count, sizes_.tokens_per_group, 0}; }
  [[nodiscard]] GroupSizes validation() const { return groups(beside(config_.data.validation_share)); }

  static double steps_of(const config::TrainConfig& train, double groups) {
    if (train.steps_max > 0) return static_cast<double>(train.steps_max);
    return std::max(1.0, std::ceil(train.epochs_max * groups / static_cast<double>(train.groups_per_step)));
  }

  void add(const std::string& id, const std::vector<std::string>& inputs, const std::string& base, int ranks_max,
           const Load& load) {
    SizedTask sized;
    sized.task.id = id, sized.task.inputs = inputs, sized.task.base = base, sized.task.ranks_max = ranks_max;
    sized.load = load;
    if (id == "report" || id.starts_with("eval/")) {
      std::vector<std::string> earlier;
      for (const SizedTask& task : tasks_) earlier.push_back(task.task.id);
      wait_for_what_is_read(sized.task, earlier);
    }
    tasks_.push_back(std::move(sized));
  }

  void add_model(const std::string& id, double count, double steps) {
    add(id, {}, "backbone", kRanksMax, training_load(config_.base, config_.cluster, groups(count), validation(), steps, 1));
  }

  double add_category(const config::CategoryConfig& c) {
    const double of_base = train() * config_.phase1_share;
    const double base_steps = steps_of(config_.base, of_base);
    add_model("base/" + c.name, of_base, base_steps);
    const std::string base = config_.base.tuning == config::Tuning::full ? "base/" + c.name : "backbone";
    const double labelled = sizes_.labels_per_point > 0 ? std::min(of_base, sizes_.labels_per_point) : of_base;
    const double steps = steps_of(config_.experts.train, labelled);
    std::vector<std::string> experts;
    const auto fuse = static_cast<std::size_t>(config_.experts.per_task);
    for (std::size_t first = 0; first < c.points.size(); first += fuse) {
      const std::size_t count = std::min(fuse, c.points.size() - first);
      std::string id = "expert/" + c.name + "/";
      for (std::size_t p = first; p < first + count; ++p) id += (p > first ? "+" : "") + c.points[p];
      add(id, {"base/" + c.name}, base, kRanksMax,
          training_load(config_.experts.train, config_.cluster, groups(labelled), validation(), steps, static_cast<int>(count)));
      experts.push_back(id);
    }
    const auto points = static_cast<int>(c.points.size());
    const double read = train() * (1 - config_.phase1_share) + beside(config_.data.validation_share);
    const Load features = reading_load(config_.experts.train, groups(read), points);
    add("features/" + c.name, experts, base, kRanksMax, features);
    add("aggregator/" + c.name, {"features/" + c.name}, "", 1, fitting_load(config_.aggregator, points));
    const double all = base_steps + std::ceil(steps * points * static_cast<double>(config_.experts.train.groups_per_step) /
                                              static_cast<double>(config_.base.groups_per_step));
    if (config_.baselines) add_model("category/" + c.name, train(), all);
    return all;
  }

  std::string add_eval(const config::CategoryConfig& c) {
    const std::string id = "eval/" + c.name;
    std::vector<std::string> inputs = {"router", "single", "base/" + c.name};
    for (const config::CategoryConfig& other : config_.categories) inputs.push_back("aggregator/" + other.name);
    if (config_.baselines) inputs.push_back("category/" + c.name);
    const auto models = static_cast<int>(c.points.size()) + (config_.baselines ? 3 : 2);
    add(id, inputs, "backbone", kRanksMax, reading_load(config_.experts.train, groups(beside(config_.data.test_share)), models));
    return id;
  }

  static constexpr int kRanksMax = 64;
  const config::RunConfig& config_;
  const JobSizes& sizes_;
  std::vector<SizedTask> tasks_;
};

}  // namespace

Load training_load(const config::TrainConfig& train, const config::ClusterConfig& cluster, const GroupSizes& training,
                   const GroupSizes& validation, double steps, int models) {
  Load load;
  load.steps = steps, load.groups_per_step = static_cast<double>(train.groups_per_step);
  load.group_tokens = training.tokens, load.plain_group_tokens = training.plain_tokens;
  const double evaluated =
      train.eval_groups_max > 0 ? std::min(validation.groups, static_cast<double>(train.eval_groups_max)) : validation.groups;
  load.read_groups = (1 + std::ceil(steps / static_cast<double>(train.eval_every_steps))) * evaluated;
  load.models = models, load.all_weights = train.tuning == config::Tuning::full,
  load.adapted_layers = train.tuning == config::Tuning::full ? 0 : static_cast<double>(train.lora_layers);
  load.trunk_groups = std::min(training.groups, steps * load.groups_per_step) + evaluated;
  load.adapter_rank = static_cast<double>(train.lora_rank);
  load.shard = train.shard, load.recompute = train.gradient_checkpointing,
  load.bytes_sent = cluster.gradient_dtype == config::Dtype::bfloat16 ? 2 : 4;
  return load;
}

Load reading_load(const config::TrainConfig& train, const GroupSizes& groups, int models) {
  Load load;
  load.group_tokens = groups.tokens, load.plain_group_tokens = groups.plain_tokens, load.read_groups = groups.groups;
  load.models = models, load.adapted_layers = train.tuning == config::Tuning::full ? 0 : static_cast<double>(train.lora_layers),
  load.trunk_groups = groups.groups;
  load.adapter_rank = static_cast<double>(train.lora_rank);
  return load;
}

Load fitting_load(const config::AggregatorConfig& aggregator, int models) {
  constexpr double kFits = 6;  // model::kFolds and one
  Load load;
  load.fit_steps = kFits * static_cast<double>(aggregator.steps_max * aggregator.groups_per_step), load.models = models;
  return load;
}

std::vector<SizedTask> estimated_job(const config::RunConfig& config, const JobSizes& sizes) {
  return Estimate(config, sizes).build();
}

TaskGraph priced_graph(std::vector<SizedTask> tasks, const ModelShape& model, const DeviceModel& device,
                       std::int64_t micro_batch_tokens) {
  TaskGraph graph;
  for (SizedTask& sized : tasks) {
    if (!sized.task.elsewhere) price(sized.task, sized.load, model, device, micro_batch_tokens);
    graph.add(sized.task);
  }
  return graph;
}

void wait_for_what_is_read(Task& task, const std::vector<std::string>& earlier) {
  for (const std::string& id : earlier) {
    const bool model = id.starts_with("expert/") || id.starts_with("base/");
    const bool reads = task.id == "report" ? !id.starts_with("eval/") && !id.starts_with("label/") : model;
    if (reads && std::ranges::find(task.inputs, id) == task.inputs.end()) task.inputs.push_back(id);
  }
}

}  // namespace dmoerm::plan
