// The tasks of a run: the nodes of plan::GraphBuilder, each with its identity and the stage that does it.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "plan/graph_builder.h"
#include "run/run_context.h"

namespace dmoerm::run {

struct RunTask {
  plan::TaskId id;
  plan::Task node;
  plan::Load load;
  TaskIdentity identity;
  /// Does the task, collective over the given ranks. Empty for external tasks, which the first rank does.
  std::function<void(RunContext&, const TaskIdentity&, comm::Communicator&)> run;
};

/// Identities of external tasks by id: ingest, the selection of groups, each labelled point. The first rank knows them. Their
/// inputs are left out: plan_tasks() adds them.
using ExternalTasks = std::map<std::string, TaskIdentity>;
/// Takes the identity of an external task that reads tasks of the ranks, with its inputs, and returns it with its revision.
using Revise = std::function<TaskIdentity(const std::string& task, TaskIdentity identity)>;

/// All tasks of a run, each after its inputs.
/// @param on        part of every task's identity; may be left out if identities are not needed
/// @param external  identities of the external tasks; missing ones are empty
/// @param revise    empty: `external` has the revisions of all tasks
/// @throws as check_data()
std::vector<RunTask> plan_tasks(const config::RunConfig& config, const data::TokenStore& store, const ComputedOn& on = {},
                                const ExternalTasks& external = {}, const Revise& revise = {});

/// Check the data against the configuration.
/// @throws ConfigError listing every category without data and every point whose labels are missing, all of one kind, or too few
void check_data(const config::RunConfig& config, const data::TokenStore& store);

/// Set cost, speed-up and memory of every task for a device.
void price_tasks(std::vector<RunTask>& tasks, const config::RunConfig& config, const plan::DeviceModel& device);

}  // namespace dmoerm::run
