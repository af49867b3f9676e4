// The tasks of a run with what each computes: the loads that train::plan_tasks counts from the data, and the whole graph from
// stated sizes where there is no data yet.
#pragma once
#include <string>
#include <vector>

#include "config/run_config.h"
#include "plan/cost_model.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

/// A task with what it computes; price() makes one's cost of the other.
struct SizedTask {
  Task task;
  Load load;
};

/// Groups of one kind: how many, and their mean length in the packed batch.
struct GroupSizes {
  double groups = 0;
  double tokens = 0;        ///< of a group, its prompt once
  double plain_tokens = 0;  ///< of a group, the prompt before every response (encoders)
};

/// @param steps  of the longest course
Load training_load(const config::TrainConfig& train, const config::ClusterConfig& cluster, const GroupSizes& training,
                   const GroupSizes& validation, double steps, int models);
/// Groups that `models` models read.
Load reading_load(const config::TrainConfig& train, const GroupSizes& groups, int models);
/// The aggregators of `models` experts, each fitted once on all groups and once for each fold that is held out.
Load fitting_load(const config::AggregatorConfig& aggregator, int models);

/// What a plan without data states.
struct JobSizes {
  double groups_per_category = 5000;  ///< train groups
  double tokens_per_group = 1000;     ///< prompt once, and all responses
  double labels_per_point = 0;        ///< train groups of phase 1 that are labelled for a point; 0 = all
};

/// The graph of train::plan_tasks() for stated sizes: the same ids and inputs, labels taken to be there.
std::vector<SizedTask> estimated_job(const config::RunConfig& config, const JobSizes& sizes);

/// Priced tasks as a graph.
TaskGraph priced_graph(std::vector<SizedTask> tasks, const ModelShape& model, const DeviceModel& device,
                       std::int64_t micro_batch_tokens);

/// Evaluations and the report read what tasks left that are not among their inputs' identities: were that lost, so that it is
/// done again, they wait for it. @param earlier  ids of all tasks before this one
void wait_for_what_is_read(Task& task, const std::vector<std::string>& earlier);

}  // namespace dmoerm::plan
