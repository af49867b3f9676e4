// The whole run as a graph of tasks: what exists, what is done, what must be done, and who does it.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "comm/world.h"
#include "plan/task_graph.h"
#include "train/run_context.h"

namespace dmoerm::train {

/// One task with what decides its result and the function that does it.
struct RunTask {
  plan::Task node;
  TaskIdentity identity;
  std::function<void(RunContext&, const TaskIdentity&, comm::Communicator&)> run;
};

/// All tasks of a run, in an order that respects their inputs. Checks the data against the configuration first.
/// @throws ConfigError listing every category without data and every point whose labels are missing, of one kind only, or too few
std::vector<RunTask> plan_tasks(const config::RunConfig& config, const data::TokenStore& store);

/// What a run came to.
struct PipelineSummary {
  bool complete = false;             ///< every task is done
  std::vector<std::string> failed;   ///< "task: message"
  std::vector<std::string> skipped;  ///< tasks that did not start, or broke off
  int exit_code = 0;                 ///< what the failures ask for
  bool stopped = false;              ///< by a signal; running again continues
};

/// Before the ranks start together, on the first of them: check data and configuration, and the run directory against both.
/// @param update  forget tasks whose settings or inputs changed, so that they are done again; otherwise such a run directory is
/// refused
/// @throws ConfigError as plan_tasks(), or naming what differs from the configuration that the directory was made with
void check_run_directory(const RunContext& context, bool update);

/// Do what is not done yet. Collective over the world.
PipelineSummary run_pipeline(RunContext& context, comm::World& world);

}  // namespace dmoerm::train
