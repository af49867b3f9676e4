#include "run/changes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "plan/task_id.h"

namespace dmoerm::run {

namespace {

constexpr std::size_t kNamed = 3;  // tasks named with a difference

/// What differs, one line for each difference: "lr: 0.1 -> 0.2 (base/a, base/b)".
class Differences {
 public:
  void add(const std::string& difference, const std::string& task) {
    for (auto& [known, tasks] : found_) {
      if (known == difference) return tasks.push_back(task);
    }
    found_.push_back({difference, {task}});
  }

  [[nodiscard]] std::string text() const {
    std::string lines;
    for (const auto& [difference, tasks] : found_) {
      const std::size_t named = std::min(kNamed, tasks.size());
      lines += fmt::format("\n  {} ({}{})", difference,
                           fmt::join(tasks.begin(), tasks.begin() + static_cast<std::ptrdiff_t>(named), ", "),
                           tasks.size() > named ? fmt::format(" and {} more tasks", tasks.size() - named) : "");
    }
    return lines;
  }

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> found_;
};

}  // namespace

std::vector<std::string> stale_tasks(const RunDirectory& directory, const std::vector<IdentifiedTask>& tasks, bool update,
                                     std::size_t readers) {
  Differences differences;
  std::vector<std::string> stale;
  std::size_t by_input = 0;
  for (const IdentifiedTask& task : tasks) {
    const auto change = directory.change(task.id, task.identity);
    if (!change) continue;
    stale.push_back(task.id);
    if (change->differences.empty()) ++by_input;
    for (const std::string& difference : change->differences) differences.add(difference, task.id);
    if (update)
      spdlog::info("[run] task={} is done again: {}", task.id,
                   change->differences.empty() ? "an input changed" : change->differences.front());
  }
  if (!stale.empty() && !update) {
    by_input += readers;
    throw ConfigError(
        "run-was-made-otherwise",
        fmt::format("{} was made with another configuration or other data:{}\n{}{} would be done again{}. Run with --update to "
                    "do that, or give the run another name",
                    directory.root().string(), differences.text(), readers > 0 ? "up to " : "",
                    counted(static_cast<std::int64_t>(stale.size() + readers), "task"),
                    by_input == 0 ? "" : fmt::format(", {} of them only because they use changed results", by_input)));
  }
  return stale;
}

std::size_t finished_by_ranks(const RunDirectory& directory) {
  const std::vector<plan::TaskId> finished = directory.finished();
  return static_cast<std::size_t>(
      std::ranges::count_if(finished, [](const plan::TaskId& id) { return !plan::is_external(id.kind); }));
}

}  // namespace dmoerm::run
