// Simulates a run: drives the coordinator's dispatcher by a computed clock. No torch, no MPI, no waiting.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/cluster.h"
#include "plan/dispatcher.h"
#include "plan/placement.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

struct SimulationOptions {
  Cluster cluster;
  std::set<std::string> done;  ///< Tasks that need not run
  std::map<std::string, double>
      share;  ///< Share of its longest training that a task takes before it stops early; tasks not named take all of it
  double evaluation_share = 0.05;  ///< Share of its longest training from one evaluation to the next
  bool regroup = true;
  double pause_s = 2;  ///< Seconds that it costs to break off and go on in another group, without writing and reading
  double checkpoint_mib_s = kCheckpointMibS;  ///< Rate at which checkpoints are written and read
  double node_mtbf_s = 0;                     ///< Mean time between failures of a node; 0 = none fails
  double checkpoint_every_s = 60;
  double restart_s = 180;     ///< Seconds from a failure until the ranks work again
  std::uint64_t seed = 17;    ///< Seed of the failures
  double ranks_at_speed = 0;  ///< Ranks of a node that can work at full speed at once (its cores); more ranks share it; 0 = all
};

enum class Outcome { done, paused, lost };

/// The time that a task spends on one group of ranks.
struct TaskInterval {
  std::size_t task = 0;  ///< Its number in the graph
  std::vector<int> ranks;
  double start = 0, end = 0;
  Outcome outcome = Outcome::done;
};

struct Simulation {
  std::vector<TaskInterval> intervals;  ///< Intervals in the order of their ends
  double makespan = 0;                  ///< Seconds
  Bound bound;                          ///< Lower bound of the makespan for what the tasks really took, without failures
  double busy_s = 0;                    ///< Rank seconds in which a rank belonged to a task
  double work_s = 0;                    ///< Seconds that one rank alone would have needed for it
  double lost_s = 0;                    ///< Rank seconds thrown away by failures, without the wait for the restart
  double down_s = 0;                    ///< Seconds from failures to restarts
  std::vector<double> failures;         ///< Times of the failures
  int regroupings = 0;
};

/// Deterministic. External tasks (ingest, labelling) take no time: their results are taken to be there.
/// @throws ConfigError if a task fits on no device
Simulation simulate(const TaskGraph& graph, const SimulationOptions& options);

/// Random early stops of the tasks that train: each model stops at a share of its longest training, drawn
/// evenly from [least, 1].
std::map<std::string, double> draw_early_stops(const TaskGraph& graph, std::uint64_t seed, double least);

}  // namespace dmoerm::plan
