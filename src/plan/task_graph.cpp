#include "plan/task_graph.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace dmoerm::plan {

void TaskGraph::add(const Task& task) {
  DMOERM_CHECK(!index_.contains(task.id), fmt::format("task {} is in the graph once", task.id));
  DMOERM_CHECK(task.cost > 0 && task.ranks_max >= 1, fmt::format("task {} has a cost and a group", task.id));
  for (const std::string& input : task.inputs)
    DMOERM_CHECK(index_.contains(input), fmt::format("input {} of task {} is known", input, task.id));
  index_[task.id] = tasks_.size();
  tasks_.push_back(task);
}

double TaskGraph::chain_cost(const std::string& id) const {
  std::vector<double> chain(tasks_.size());
  for (std::size_t i = tasks_.size(); i-- > 0;) {  // those that wait come later in the list
    chain[i] += tasks_[i].cost;
    for (const std::string& input : tasks_[i].inputs) chain[index_.at(input)] = std::max(chain[index_.at(input)], chain[i]);
  }
  return chain[index_.at(id)];
}

}  // namespace dmoerm::plan
