// Runs a task graph over the world: the coordinator's thread on the first rank hands out tasks, every rank works.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>

#include "comm/world.h"
#include "plan/task_graph.h"

namespace dmoerm::train {

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

/// Collective over the world; all ranks return the same summary. `run_task` is called on every rank of a task's group. A
/// dmoerm::Error it throws fails that task alone, if all its ranks leave it; one that leaves alone ends the run, as the others
/// wait for it. Stopped breaks the run off. Any other exception ends all ranks.
/// @param done  tasks that need not run; the first rank's counts
/// @param elsewhere  may be empty if the graph has no such tasks; the first rank's counts
RunSummary run_tasks(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done,
                     const Elsewhere& elsewhere,
                     const std::function<void(const std::string& task, comm::Communicator& group)>& run_task);

}  // namespace dmoerm::train
