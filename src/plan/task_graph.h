// The tasks of a run and what each waits for.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

namespace dmoerm::plan {

struct Task {
  std::string id;
  std::vector<std::string> inputs;  ///< ids of tasks that must be done first
  double cost = 1.0;                ///< in any one unit, > 0
  int ranks_max = 1;                ///< largest useful group
  bool elsewhere = false;           ///< done outside of the ranks (labelling); others may wait for it
};

class TaskGraph {
 public:
  /// Inputs must have been added before, so the graph has no cycles and its order is one of execution. @throws std::logic_error
  void add(const Task& task);

  [[nodiscard]] const std::vector<Task>& tasks() const { return tasks_; }
  [[nodiscard]] const Task& at(const std::string& id) const { return tasks_[index_.at(id)]; }
  [[nodiscard]] bool has(const std::string& id) const { return index_.contains(id); }
  /// Cost of a task and of the longest chain of tasks that wait for it.
  [[nodiscard]] double chain_cost(const std::string& id) const;

 private:
  std::vector<Task> tasks_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace dmoerm::plan
