#include "run/changes.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"

namespace dmoerm::run {

std::vector<std::string> stale_tasks(const RunDirectory& directory, const std::vector<IdentifiedTask>& tasks, bool update) {
  std::string differences;
  std::vector<std::string> stale;
  for (const IdentifiedTask& task : tasks) {
    const auto change = directory.change(task.id, task.identity);
    if (!change) continue;
    stale.push_back(task.id);
    for (const std::string& difference : change->differences) differences += fmt::format("\n  {}: {}", task.id, difference);
    if (update)
      spdlog::info("[run] task={} is done again: {}", task.id,
                   change->differences.empty() ? "an input changed" : change->differences.front());
  }
  if (!stale.empty() && !update) {
    throw ConfigError("run-was-made-otherwise",
                      fmt::format("{} was made with another configuration or other data; {} and what depends on {} would be done "
                                  "again:{}\nrun with --update to do that, or give the run another name",
                                  directory.root().string(),
                                  stale.size() == 1 ? "task " + stale.front() : fmt::format("{} tasks", stale.size()),
                                  stale.size() == 1 ? "it" : "them", differences));
  }
  return stale;
}

}  // namespace dmoerm::run
