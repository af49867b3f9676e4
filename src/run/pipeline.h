// The whole run as a graph of tasks: what exists, what is done, what must be done, and who does it.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "comm/world.h"
#include "plan/job.h"
#include "run/dispatch_loop.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// One task with what decides its result and the function that does it.
struct RunTask {
  plan::Task node;
  plan::Load load;  ///< what it computes
  TaskIdentity identity;
  std::function<void(RunContext&, const TaskIdentity&, comm::Communicator&)> run;
};

/// What decides the verdicts of each point that judges label, by task ("label/<category>/<point>").
using LabelPlan = std::map<std::string, TaskIdentity>;
/// The file of the run directory through which the first rank tells the others.
void save_label_plan(const RunDirectory& directory, const LabelPlan& plan);
/// Empty if the configuration names no judges.
LabelPlan load_label_plan(const RunDirectory& directory, const config::RunConfig& config);

/// All tasks of a run, in an order that respects their inputs. Checks the data against the configuration first.
/// @param on  part of what decides every task's result; whoever wants no identities may leave it out
/// @param labels  a task each that is done elsewhere, and that the point's expert waits for
/// @throws ConfigError listing every category without data and every point whose labels are missing, of one kind only, or too few
std::vector<RunTask> plan_tasks(const config::RunConfig& config, const data::TokenStore& store, const ComputedOn& on = {},
                                const LabelPlan& labels = {});

/// The backbone's shape as its config.json says; layers as configured. @throws IoError, DataError
plan::ModelShape shape_of(const config::RunConfig& config);
/// Set cost, speed-up and memory of every task for a device.
void price_tasks(std::vector<RunTask>& tasks, const config::RunConfig& config, const plan::DeviceModel& device);

/// What a run came to.
struct PipelineSummary {
  bool complete = false;             ///< every task is done
  std::vector<std::string> failed;   ///< "task: message"
  std::vector<std::string> skipped;  ///< tasks that did not start, or broke off
  int exit_code = 0;                 ///< what the failures ask for
  bool stopped = false;              ///< by a signal, or labelling by a limit; running again continues
};

/// Before the ranks start together, on the first of them: check data and configuration, and the run directory against both.
/// @param on  from check_backbone(); kept in the run directory for the other ranks
/// @param update  forget tasks whose settings or inputs changed, so that they are done again; otherwise such a run directory is
/// refused
/// @throws ConfigError as plan_tasks(), or naming what differs from the configuration that the directory was made with
void check_run_directory(const RunContext& context, const ComputedOn& on, bool update);

/// What a run needs from its caller. Each may be empty.
struct PipelineHooks {
  /// Labels the points of the label plan that are not done; called in a thread of the first rank with them.
  std::function<void(const std::set<std::string>& open, const std::function<void(const std::string& task)>& done)> label;
  Observer observe;                                    ///< hears the run's events, on the first rank
  std::function<void(const std::string& what)> doing;  ///< what this rank does now
};

/// Do what is not done yet. Collective over the world.
PipelineSummary run_pipeline(RunContext& context, comm::World& world, const PipelineHooks& hooks = {});

}  // namespace dmoerm::run
