#include "plan/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/counted.h"
#include "base/text.h"
#include "base/text_table.h"
#include "plan/gantt.h"
#include "plan/placement.h"
#include "plan/task_id.h"

namespace dmoerm::plan {
namespace {

using nlohmann::json;

constexpr double kHour = 3600;

/// 0,1,2,3,7 -> "0-3, 7"
std::string ranges(const std::vector<int>& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    text += (text.empty() ? "" : ", ") + (last > i ? fmt::format("{}-{}", ranks[i], ranks[last]) : std::to_string(ranks[i]));
    i = last + 1;
  }
  return text;
}

/// How each kind of task runs.
std::string kinds_text(const PlannedRun& run) {
  struct Kind {
    int tasks = 0;
    double cost = 0, memory_mib = 0, rank_seconds = 0;
    std::map<std::size_t, int> intervals;  // by number of ranks
    int useful = 1;
  };
  std::map<std::string, Kind> kinds;
  std::vector<std::string> order;
  for (const Task& task : run.graph.tasks()) {
    if (task.external) continue;
    const std::string kind = kind_text(task.id);
    if (!kinds.contains(kind)) order.push_back(kind);
    ++kinds[kind].tasks, kinds[kind].cost += task.cost;
    const std::vector<int> sizes = group_sizes(task, run.cluster);
    kinds[kind].useful = std::max(kinds[kind].useful, sizes.empty() ? 1 : sizes.back());
  }
  for (const TaskInterval& interval : run.simulation.intervals) {
    const Task& task = run.graph.tasks()[interval.task];
    Kind& kind = kinds[kind_text(task.id)];
    ++kind.intervals[interval.ranks.size()];
    kind.rank_seconds += (interval.end - interval.start) * static_cast<double>(interval.ranks.size());
    kind.memory_mib = std::max(kind.memory_mib, memory_mib(task, static_cast<int>(interval.ranks.size())));
  }
  std::vector<std::vector<std::string>> rows = {
      {"kind", "tasks", "on one rank, each", "rank hours", "MiB a rank", "useful ranks", "groups used (ranks x times)"}};
  for (const std::string& name : order) {
    const Kind& kind = kinds[name];
    std::string groups;
    for (const auto& [size, times] : kind.intervals) groups += fmt::format("{}{} x {}", groups.empty() ? "" : ", ", size, times);
    rows.push_back({name, std::to_string(kind.tasks), duration_text(kind.cost / kind.tasks),
                    fmt::format("{:.2f}", kind.rank_seconds / kHour), fmt::format("{:.0f}", kind.memory_mib),
                    std::to_string(kind.useful), groups});
  }
  return markdown_table(rows);
}

}  // namespace

std::string summary_text(const PlannedRun& run, const Price& price) {
  const Simulation& s = run.simulation;
  const auto ranks = static_cast<double>(run.cluster.size());
  const double all = ranks * s.makespan;
  std::string text = fmt::format("makespan       {} on {}; at least {} ({:.2f} times)\n", duration_text(s.makespan),
                                 counted(std::ssize(run.cluster), "rank"), duration_text(s.bound.seconds()),
                                 s.makespan / std::max(1e-9, s.bound.seconds()));
  text += fmt::format("device hours   {:.1f}", all / kHour);
  if (price.per_device_hour > 0) text += fmt::format(", {:.2f} {}", all / kHour * price.per_device_hour, price.currency);
  const double down = std::min(all, 0.0 + ranks * s.down_s);
  text += fmt::format("\nranks in tasks {} of the time: {} useful, {} spent on groups, links and loading, {} lost to failures\n",
                      percent_text(s.busy_s / all), percent_text(s.work_s / all),
                      percent_text(std::max(0.0, s.busy_s - s.work_s - s.lost_s) / all), percent_text(s.lost_s / all));
  text += fmt::format("ranks idle     {} of the time{}\n", percent_text(std::max(0.0, all - s.busy_s - down) / all),
                      s.failures.empty() ? "" : fmt::format(", waiting for a restart {}", percent_text(down / all)));
  text += fmt::format("failures       {}; groups re-formed {}\n", s.failures.size(), counted(s.regroupings, "time"));
  if (s.bound.chain > s.bound.work) {
    std::string chain;
    for (const std::size_t task : s.bound.chain_tasks) chain += (chain.empty() ? "" : " -> ") + run.graph.tasks()[task].id;
    text += fmt::format(
        "limited by     the longest chain, each task on its best group: {} ({}); all work evenly shared would take {}\n", chain,
        duration_text(s.bound.chain), duration_text(s.bound.work));
  } else {
    text += fmt::format("limited by     the work: {} evenly shared; the longest chain takes {}\n", duration_text(s.bound.work),
                        duration_text(s.bound.chain));
  }
  return text + "\n" + kinds_text(run);
}

std::string schedule_text(const PlannedRun& run, std::size_t most) {
  std::vector<TaskInterval> intervals = run.simulation.intervals;
  std::ranges::stable_sort(intervals, {}, &TaskInterval::start);
  std::vector<std::vector<std::string>> rows = {{"from", "to", "task", "ranks", ""}};
  for (const TaskInterval& interval : intervals) {
    if (rows.size() > most) break;
    rows.push_back({duration_text(interval.start), duration_text(interval.end), run.graph.tasks()[interval.task].id,
                    ranges(interval.ranks),
                    interval.outcome == Outcome::done     ? ""
                    : interval.outcome == Outcome::paused ? "goes on in another group"
                                                          : "cut off by a failure"});
  }
  std::string text = markdown_table(rows);
  if (intervals.size() > most)
    text += fmt::format("... and {} more: --lines N shows more, --json FILE has all\n", intervals.size() - most);
  return text;
}

std::string fuse_text(const std::vector<FuseChoice>& choices, std::int64_t configured) {
  if (choices.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{"experts.per_task", "makespan", "rank hours in tasks", "MiB a rank", ""}};
  const FuseChoice* best = nullptr;
  for (const FuseChoice& c : choices) {
    if (c.refusal.empty() && (best == nullptr || c.makespan < 0.995 * best->makespan)) best = &c;
  }
  for (const FuseChoice& c : choices) {
    std::string note = c.fuse == configured ? "configured" : "";
    if (&c == best) note += note.empty() ? "best" : ", best";
    rows.push_back(c.refusal.empty()
                       ? std::vector<std::string>{std::to_string(c.fuse), duration_text(c.makespan),
                                                  fmt::format("{:.1f}", c.rank_hours), fmt::format("{:.0f}", c.memory_mib), note}
                       : std::vector<std::string>{std::to_string(c.fuse), "does not fit", "", "", note});
  }
  return markdown_table(rows);
}

json plan_json(const PlannedRun& run, const std::vector<std::string>& assumptions, const std::vector<FuseChoice>& choices,
               const Price& price) {
  const Simulation& s = run.simulation;
  json tasks = json::array(), intervals = json::array(), fuse = json::array();
  for (const Task& task : run.graph.tasks()) {
    if (task.external) continue;
    std::vector<std::string> inputs = task.inputs;
    std::erase_if(inputs, [&](const std::string& input) { return run.graph.at(input).external; });
    tasks.push_back({{"id", task.id},
                     {"inputs", inputs},
                     {"seconds_on_one_rank", task.cost},
                     {"speedup", task.speedup},
                     {"speedup_across", task.speedup_across},
                     {"mib", task.memory_mib},
                     {"mib_sharded", task.sharded_mib}});
  }
  for (const TaskInterval& interval : s.intervals) {
    intervals.push_back({{"task", run.graph.tasks()[interval.task].id},
                         {"ranks", interval.ranks},
                         {"start", interval.start},
                         {"end", interval.end},
                         {"ending", interval.outcome == Outcome::done     ? "done"
                                    : interval.outcome == Outcome::paused ? "paused"
                                                                          : "lost"}});
  }
  for (const FuseChoice& c : choices) {
    fuse.push_back({{"fuse", c.fuse},
                    {"makespan_s", c.makespan},
                    {"rank_hours", c.rank_hours},
                    {"mib", c.memory_mib},
                    {"refusal", c.refusal}});
  }
  const double hours = static_cast<double>(run.cluster.size()) * s.makespan / kHour;
  return {{"ranks", run.cluster.size()},
          {"makespan_s", s.makespan},
          {"bound_s", s.bound.seconds()},
          {"bound_work_s", s.bound.work},
          {"bound_chain_s", s.bound.chain},
          {"device_hours", hours},
          {"cost", hours * price.per_device_hour},
          {"currency", price.currency},
          {"rank_seconds", {{"in_tasks", s.busy_s}, {"useful", s.work_s}, {"lost", s.lost_s}}},
          {"failures_s", s.failures},
          {"regroupings", s.regroupings},
          {"assumptions", assumptions},
          {"fuse", fuse},
          {"tasks", tasks},
          {"stays", intervals}};
}

}  // namespace dmoerm::plan
