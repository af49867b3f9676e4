// The graph of a run: which tasks a configuration makes, what each waits for and what it computes. The run does these tasks,
// `dmoerm plan` simulates them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "plan/cost_model.h"
#include "plan/sizes.h"
#include "plan/task_graph.h"
#include "plan/task_id.h"

namespace dmoerm::plan {

/// A node of the graph.
struct TaskNode {
  TaskId id;
  /// Tasks whose results decide this one's. `task.inputs` has these, and the tasks that it only waits for.
  std::vector<TaskId> reads;
  Task task;               ///< Task of the dispatcher; price() sets its cost
  Load load = {};          ///< Work of a task of the ranks
  std::int64_t steps = 0;  ///< Most updates of a phase-1 model
};

class GraphBuilder {
 public:
  GraphBuilder(const config::RunConfig& config, const Sizes& sizes) : config_(config), sizes_(sizes) {}
  /// All nodes of the run, each after those that it waits for.
  std::vector<TaskNode> build();

 private:
  void add(TaskId id, std::vector<TaskId> reads, const std::string& base, int ranks_max, const Load& load);
  void add_external(TaskId id, const std::vector<TaskId>& waits_for, std::vector<TaskId> reads = {});
  void add_router();
  void add_rated_router();
  /// States of prompts that a router writes and reads until it is done: one of each prompt that trains or calibrates it.
  [[nodiscard]] double router_states() const;
  double add_model(const TaskId& id, Subset subset, std::int64_t steps = 0);
  double add_base_of_all();
  double add_category(const config::CategoryConfig& category, double tokens);
  double add_experts(const config::CategoryConfig& category, const TaskId& experts, const std::string& base);
  double add_rounds(const config::CategoryConfig& category, const TaskId& experts, const std::string& base);
  void add_fold(const config::CategoryConfig& category, std::int32_t fold, std::vector<TaskId>& sets);
  [[nodiscard]] GroupSizes taught(const TaskId& model, Subset subset) const;
  [[nodiscard]] std::string weights_of(const TaskId& base) const;
  void add_eval(const config::CategoryConfig& category);

  const config::RunConfig& config_;
  const Sizes& sizes_;
  std::vector<TaskNode> nodes_;
};

/// Rounds of labelling: labels.rounds where judges are asked about uncertain pairs, else 1.
int label_rounds(const config::RunConfig& config);
/// What a task of a round, counted from 1, has as TaskId::round: 0 for the last one.
std::int32_t round_in_id(const config::RunConfig& config, int round);
/// The tasks whose gaps decide which pairs a point, given by its place in the category, is asked about in a round: those of all
/// rounds before it.
std::vector<TaskId> gaps_before(const config::RunConfig& config, const config::CategoryConfig& category, std::size_t point,
                                int round);

/// The tasks that train a category's experts on all of their groups, in the order of its points: `experts.per_task` points each.
std::vector<TaskId> expert_sets(const config::RunConfig& config, const config::CategoryConfig& category);
/// The one of them that trains a point, given by its place in the category.
TaskId expert_set_of(const config::RunConfig& config, const config::CategoryConfig& category, std::size_t point);

/// The labels of capability points that a model of phase 1 or a baseline learns from beside overall preferences, as the tasks
/// that make them where judges label; none if it learns from overall preferences alone. Bases have those of the first round,
/// because the experts that choose the pairs of the next one start from them.
std::vector<TaskId> point_labels_of(const config::RunConfig& config, const TaskId& model);
/// The model whose weights a model of phase 1 starts from; nothing if those are the backbone's.
std::optional<TaskId> starts_from(const config::RunConfig& config, const TaskId& model);

/// The dispatcher's graph of nodes, priced for a model on a device.
TaskGraph priced_graph(const std::vector<TaskNode>& nodes, const ModelShape& model, const DeviceModel& device,
                       std::int64_t micro_batch_tokens);

}  // namespace dmoerm::plan
