// The tasks of a run and what each waits for.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

namespace dmoerm::plan {

struct Task {
  std::string id;
  std::vector<std::string> inputs;   ///< Ids of the tasks that must be done first
  double cost = 1.0;                 ///< Seconds on one rank, > 0; another unit does where the dispatcher is not told the time
  int ranks_max = 1;                 ///< Largest useful group of ranks
  bool external = false;             ///< Whether it is done outside of the ranks (ingest, labelling)
  std::string base = {};             ///< Name of the weights that its ranks must have loaded; "" = none
  double load_cost = 0;              ///< Cost of loading them where a rank of the group does not hold them
  double memory_mib = 0;             ///< Memory on each rank of its group
  double sharded_mib = 0;            ///< Memory that is divided among the ranks of its group
  double output_mib = 0;             ///< Size of its result
  double checkpoint_mib = 0;         ///< Size of a checkpoint, which a pause writes and the next group reads
  std::vector<double> speedup = {};  ///< Speed-up of 1, 2, 4, ... ranks of one node; empty = 0.9 of the ranks for each doubling
  std::vector<double> speedup_across = {};  ///< The same over several nodes; empty = as inside a node
  bool pauses = true;                       ///< Whether it can break off at an evaluation and go on in another group
};

/// How many times faster a group of `ranks` (a power of two) is than one rank. Beyond its end a curve goes on level.
double speedup(const Task& task, int ranks, bool across_nodes = false);
/// Memory that each rank of such a group needs.
double memory_mib(const Task& task, int ranks);

class TaskGraph {
 public:
  /// Inputs must have been added before, so the graph has no cycles and its order is one of execution. @throws std::logic_error
  void add(const Task& task);

  [[nodiscard]] const std::vector<Task>& tasks() const { return tasks_; }
  [[nodiscard]] const Task& at(const std::string& id) const { return tasks_[index_.at(id)]; }
  [[nodiscard]] std::size_t index(const std::string& id) const { return index_.at(id); }
  [[nodiscard]] bool has(const std::string& id) const { return index_.contains(id); }
  /// Numbers of the tasks that a task waits for.
  [[nodiscard]] const std::vector<std::size_t>& inputs(std::size_t task) const { return inputs_[task]; }
  /// For each task its cost and that of the longest chain of tasks that wait for it.
  [[nodiscard]] std::vector<double> chain_costs() const;

 private:
  std::vector<Task> tasks_;
  std::vector<std::vector<std::size_t>> inputs_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace dmoerm::plan
