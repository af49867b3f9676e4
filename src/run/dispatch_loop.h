// Runs a task graph on all ranks: the coordinator's thread on the first rank hands out tasks, and every rank works.
#pragma once
#include <functional>
#include <set>
#include <string>

#include "comm/world.h"
#include "plan/task_graph.h"
#include "run/coordinator.h"
#include "run/run_summary.h"
#include "train/task_progress.h"

namespace dmoerm::run {

/// Functions by which a run uses and informs its caller. Each may be empty.
struct RunHooks {
  /// Does the open external tasks, in a thread of the first rank, each once its inputs stand on the board. It calls `done` for
  /// each finished task. Tasks that are not done when it returns are left for a later run; if it throws, they fail.
  std::function<void(const std::set<std::string>& open, const std::function<void(const std::string& task)>& done,
                     TaskBoard& board)>
      external;
  /// Calls a function on the first rank alone; if it throws, all ranks leave.
  std::function<void(const std::function<void()>& work)> check;
  /// Receives the run's events, on the first rank.
  Observer observe;
  /// Receives what this rank does now.
  std::function<void(const std::string& what)> doing;
};

/// The tasks of a run and how they are done. The first rank's `done` and `placement` count.
struct TasksToRun {
  const plan::TaskGraph& graph;
  std::set<std::string> done;  ///< Tasks that need not run
  /// Does a task. Called on each of the task's ranks.
  std::function<void(const std::string& task, comm::Communicator& ranks, const train::TaskProgress& progress)> run;
  plan::DispatcherOptions placement = {};
  double limit_s =
      600;  ///< Limit of a collective of a task (Communicator::limit_waits); waits for a task's end may take ten times as long
};

/// Collective over the world; all ranks return the same summary. If TasksToRun::run throws, only that task fails, even if only
/// one of its ranks throws: the others are called out of their collectives. The task is tried again from its last checkpoint if
/// that may help (Error::may_pass). Stopped ends the run. A CommError ends all ranks.
RunSummary run_tasks(comm::World& world, const TasksToRun& tasks, const RunHooks& hooks);

}  // namespace dmoerm::run
