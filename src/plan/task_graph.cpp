#include "plan/task_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace dmoerm::plan {

double speedup(const Task& task, int ranks, bool across_nodes) {
  constexpr double kOfADoubling = 0.9;
  const auto doublings = static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(ranks)) - 1);
  const std::vector<double>& curve = across_nodes && !task.speedup_across.empty() ? task.speedup_across : task.speedup;
  if (curve.empty()) return std::pow(2 * kOfADoubling, static_cast<double>(doublings));
  return curve[std::min(doublings, curve.size() - 1)];
}

double memory_mib(const Task& task, int ranks) { return task.memory_mib + task.sharded_mib / ranks; }

void TaskGraph::add(const Task& task) {
  DMOERM_CHECK(!index_.contains(task.id), fmt::format("task {} is in the graph once", task.id));
  DMOERM_CHECK(task.cost > 0 && task.ranks_max >= 1, fmt::format("task {} has a cost and a group", task.id));
  std::vector<std::size_t> inputs;
  for (const std::string& input : task.inputs) {
    DMOERM_CHECK(index_.contains(input), fmt::format("input {} of task {} is known", input, task.id));
    inputs.push_back(index_.at(input));
  }
  index_[task.id] = tasks_.size();
  tasks_.push_back(task);
  inputs_.push_back(std::move(inputs));
}

std::vector<double> TaskGraph::chain_costs() const {
  std::vector<double> chain(tasks_.size());
  for (std::size_t i = tasks_.size(); i-- > 0;) {  // those that wait come later in the list
    chain[i] += tasks_[i].cost;
    for (const std::size_t input : inputs_[i]) chain[input] = std::max(chain[input], chain[i]);
  }
  return chain;
}

}  // namespace dmoerm::plan
