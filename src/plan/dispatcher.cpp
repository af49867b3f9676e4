#include "plan/dispatcher.h"

#include <algorithm>

namespace dmoerm::plan {

Dispatcher::Dispatcher(const TaskGraph& graph, const std::set<std::string>& done, int retries)
    : graph_(graph), done_(done), retries_(retries) {
  for (const Task& task : graph.tasks()) {
    chain_[task.id] = graph.chain_cost(task.id);
    if (task.elsewhere && !done_.contains(task.id)) running_.insert(task.id);
  }
}

std::vector<ReadyTask> Dispatcher::ready() const {
  std::vector<ReadyTask> ready;
  if (stopped_) return ready;
  for (const Task& task : graph_.tasks()) {
    if (task.elsewhere || done_.contains(task.id) || running_.contains(task.id) || failed_.contains(task.id)) continue;
    if (std::ranges::all_of(task.inputs, [&](const std::string& input) { return done_.contains(input); }))
      ready.push_back({task.id, chain_.at(task.id), task.cost, task.ranks_max});
  }
  return ready;
}

std::vector<Assignment> Dispatcher::assign() {
  std::vector<Assignment> assignments;
  for (const Placed& placed : place(ready(), idle_)) {
    running_.insert(placed.id);
    for (const int rank : placed.ranks) std::erase(idle_, rank);
    assignments.push_back({placed.id, placed.ranks, ++tag_});
  }
  return assignments;
}

std::vector<Assignment> Dispatcher::on_idle(int rank) {
  if (std::ranges::find(idle_, rank) == idle_.end()) idle_.push_back(rank);
  return assign();
}

std::vector<Assignment> Dispatcher::on_done(const std::string& task, bool ok, const std::string& message) {
  running_.erase(task);
  if (ok) {
    done_.insert(task);
  } else {
    failed_[task] = message;
  }
  return assign();
}

bool Dispatcher::on_failed(const std::string& task, const std::string& message, bool may_retry) {
  running_.erase(task);
  if (may_retry && !stopped_ && tries_left_.emplace(task, retries_).first->second-- > 0) return true;
  failed_[task] = message;
  return false;
}

void Dispatcher::on_stopped(const std::string& task) {
  running_.erase(task);
  stop();
}

bool Dispatcher::finished() const { return running_.empty() && ready().empty(); }

std::set<std::string> Dispatcher::skipped() const {
  std::set<std::string> skipped;
  for (const Task& task : graph_.tasks()) {
    if (!done_.contains(task.id) && !running_.contains(task.id) && !failed_.contains(task.id)) skipped.insert(task.id);
  }
  return skipped;
}

}  // namespace dmoerm::plan
