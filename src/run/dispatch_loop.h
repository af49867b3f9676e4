// Runs a task graph over the world: the coordinator's thread on the first rank hands out tasks, every rank works.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>

#include "comm/world.h"
#include "plan/task_graph.h"
#include "run/coordinator.h"
#include "train/task_line.h"

namespace dmoerm::run {

struct RunSummary {
  std::set<std::string> done;
  std::map<std::string, std::string> failed;  ///< task -> message
  std::set<std::string> skipped;
  int exit_code = 0;     ///< the gravest of the failures'
  bool stopped = false;  ///< a signal or a limit broke it off; what is not done is in `skipped`
};

/// Does the graph's tasks that are done elsewhere, in a thread of the first rank. It is given a function to call for each that is
/// done. Those it has not named when it returns are left for a later run; if it throws, they fail.
using Elsewhere = std::function<void(const std::function<void(const std::string& task)>& done)>;

/// What a run of tasks needs from its caller.
struct RunHooks {
  /// Called on every rank of a task's group.
  std::function<void(const std::string& task, comm::Communicator& group, const train::TaskLine& line)> run_task;
  Elsewhere elsewhere;                                 ///< may be empty if the graph has no such tasks; the first rank's counts
  Observer observe;                                    ///< may be empty; the first rank's counts
  std::function<void(const std::string& what)> doing;  ///< may be empty: what this rank does now
  plan::DispatcherOptions placement;                   ///< the first rank's counts
};

/// Collective over the world; all ranks return the same summary. What run_task throws fails that task alone, also if only one
/// rank of its group throws: the others are called out of their collectives. It is tried again from its last checkpoint if that
/// may help (Error::may_pass). Stopped breaks the run off. A CommError ends all ranks.
/// @param done  tasks that need not run; the first rank's counts
RunSummary run_tasks(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done, const RunHooks& hooks);

}  // namespace dmoerm::run
