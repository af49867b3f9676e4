// What a run would do: the coordinator's dispatcher driven by a clock that is computed. No torch, no MPI, no waiting.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/cluster.h"
#include "plan/placement.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

struct SimulationOptions {
  Cluster cluster;
  std::set<std::string> done;           ///< tasks that need not run
  std::map<std::string, double> share;  ///< of its longest course that a task takes before it stops early; others take all of it
  double evaluation_share = 0.05;       ///< of its longest course that a task takes from one evaluation to the next
  bool regroup = true;
  double pause_s = 2;      ///< that breaking off and going on in another group costs
  double node_mtbf_s = 0;  ///< mean time between failures of a node; 0 = none fails
  double checkpoint_every_s = 60;
  double restart_s = 180;     ///< from a failure until the ranks work again
  std::uint64_t seed = 17;    ///< of the failures
  double ranks_at_speed = 0;  ///< ranks of a node that can work at full speed at once (its cores); more share it; 0 = all
};

enum class Ending { done, paused, lost };

/// One stay of a task on a group of ranks.
struct Stay {
  std::size_t task = 0;  ///< its number in the graph
  std::vector<int> ranks;
  double start = 0, end = 0;
  Ending ending = Ending::done;
};

struct Simulation {
  std::vector<Stay> stays;       ///< in the order of their ends
  double makespan = 0;           ///< seconds
  Bound bound;                   ///< of the makespan, for what the tasks really took, without failures
  double busy_s = 0;             ///< rank seconds in which a rank belonged to a task
  double work_s = 0;             ///< what one rank alone would have needed for it
  double lost_s = 0;             ///< rank seconds thrown away by failures, without the waiting for the restart
  double down_s = 0;             ///< seconds from failures to restarts
  std::vector<double> failures;  ///< their times
  int regroupings = 0;
};

/// Deterministic. Tasks done elsewhere (labelling) take no time: their labels are taken to be there.
/// @throws ConfigError if a task fits on no device
Simulation simulate(const TaskGraph& graph, const SimulationOptions& options);

/// The first part of a task's id: router, base, expert, features, aggregator, single, category, eval, report, label.
std::string kind_of(const std::string& id);
/// Experts in a task: those named in it, "expert/chat/logic+tone" has two.
int experts_of(const std::string& id);
/// Random early stops of the tasks that train: each model stops at a share of its longest course drawn evenly from [least, 1].
std::map<std::string, double> draw_early_stops(const TaskGraph& graph, std::uint64_t seed, double least);

}  // namespace dmoerm::plan
