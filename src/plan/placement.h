// Which task runs on which ranks, and when. Pure functions, shared by the program that trains and the one that simulates.
#pragma once
#include <optional>
#include <vector>

#include "plan/cluster.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

/// A task that has not ended and does not run.
struct OpenTask {
  const Task* task = nullptr;
  std::size_t id = 0;           ///< Number that the caller gave it
  int base = -1;                ///< Number of Task::base
  std::vector<int> sizes;       ///< Its group_sizes()
  double cost = 0;              ///< Cost that is left of it
  double critical_path = 0;     ///< Cost of the longest chain of its dependents
  double ready_at = 0;          ///< Earliest start, in seconds from now
  int inputs = 0;               ///< Number of open tasks it waits for
  std::vector<int> dependents;  ///< Open tasks that wait for it, as positions in Problem::open
};

/// What is to be placed. Times are seconds from now.
struct Problem {
  const Cluster& cluster;
  std::vector<double> free_at;  ///< Time at which each rank is free; infinity = never
  std::vector<int> holds;       ///< Number of the base that each rank holds; -1 = none
  std::vector<OpenTask> open;   ///< Open tasks, inputs before what waits for them
};

struct Placed {
  std::size_t id = 0;
  std::vector<int> ranks;  ///< ascending; a power of two of them
  double start = 0, end = 0;
  bool across_nodes = false;
};

struct Schedule {
  std::vector<Placed> placed;  ///< Tasks in the order they were placed in; starts do not always rise
  double makespan = 0;
  double mean_end = 0;
  /// The value that the search minimises: the makespan, and between equal makespans the mean end.
  [[nodiscard]] double objective() const { return makespan + 0.02 * mean_end; }
};

/// How many times faster than on one rank a task is at best on so many ranks of the cluster: of one node if they are on one.
double best_speedup(const Task& task, const Cluster& cluster, int ranks);
/// Group sizes that are of use to a task: powers of two for which enough ranks have the memory, each faster than the one before.
/// Ascending, empty if it fits nowhere.
std::vector<int> group_sizes(const Task& task, const Cluster& cluster);
/// @throws ConfigError naming the task, what it needs on how many ranks, and the largest device, if it fits nowhere
void check_fits(const Task& task, const Cluster& cluster);

/// The group of `size` ranks that ends `open` soonest, inside one node if that is no later. Empty if no such ranks become free.
std::optional<Placed> find_group(const Problem& problem, const OpenTask& open, int size, double ready_at);

/// One decision by rule, for problems too large to search: of the open tasks without open inputs the longest chains first, one
/// rank each (or as many as its memory asks for); ranks left over double the groups that would end last. Uses the ranks that are
/// free now, and those only.
std::vector<Placed> place_by_rule(const Problem& problem);

/// What no schedule on these ranks can beat.
struct Bound {
  double work = 0;   ///< Seconds if all work were shared out evenly
  double chain = 0;  ///< Seconds of the longest chain, each task of it on its fastest group
  std::vector<std::size_t> chain_tasks;
  [[nodiscard]] double seconds() const { return work > chain ? work : chain; }
};
/// External tasks count as no work and no time.
Bound lower_bound(const TaskGraph& graph, const Cluster& cluster);

}  // namespace dmoerm::plan
