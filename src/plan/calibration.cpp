#include "plan/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"
#include "plan/task_id.h"

namespace dmoerm::plan {
namespace {

using nlohmann::json;

/// The time that a task spent on one group of ranks, as measured.
struct MeasuredInterval {
  int ranks = 0;
  double seconds = 0;  ///< Seconds at full speed of its ranks
  double step = 0;     ///< Step at its end
};

struct MeasuredTask {
  std::vector<MeasuredInterval> intervals;
  double step = 0, steps_max = 0;
  bool done = false;
  /// Share of its longest training that lies between two steps.
  [[nodiscard]] double share(double from, double to) const { return steps_max > 0 ? (to - from) / steps_max : 1; }
};

/// Reads the events in order, and adds up the time of each running task.
class Timeline {
 public:
  explicit Timeline(double ranks_at_speed) : ranks_at_speed_(ranks_at_speed) {}

  void read(const json& event) {
    const std::string name = event.at("event");
    const double at = event.at("at");
    if (name == "run") running_.clear();  // nobody worked between a kill and the restart
    pass(at);
    if (name == "run") {
      for (const json& rank : event.at("ranks")) host_of_[rank.at("rank")] = rank.at("host");
      started_ = at;
    } else if (name == "start") {
      const std::string id = event.at("task");
      tasks_[id].intervals.push_back({static_cast<int>(event.at("ranks").size()), 0, tasks_[id].step});
      running_[id] = event.at("ranks").get<std::vector<int>>();
    } else if (name == "progress") {
      MeasuredTask& task = tasks_[event.at("task")];
      task.step = event.value("step", task.step);
      task.steps_max = std::max(task.steps_max, event.value("steps_max", 0.0));
    } else if (name == "end") {
      MeasuredTask& task = tasks_[event.at("task")];
      if (!task.intervals.empty()) task.intervals.back().step = task.step;
      task.done = task.done || event.at("outcome") == "done";
      running_.erase(event.at("task"));
    } else if (name == "finish") {
      seconds_ += at - started_;
      running_.clear();
    }
  }

  [[nodiscard]] const std::map<std::string, MeasuredTask>& tasks() const { return tasks_; }
  [[nodiscard]] int ranks() const { return static_cast<int>(host_of_.size()); }
  [[nodiscard]] double seconds() const { return seconds_; }

 private:
  /// Credit the time since the last event to the running tasks: ranks of a host beyond its cores have shared them.
  void pass(double at) {
    std::map<std::string, double> working;
    for (const auto& [id, ranks] : running_) {
      for (const int r : ranks) ++working[host_of_[r]];
    }
    for (const auto& [id, ranks] : running_) {
      double rate = 1;
      for (const int r : ranks) {
        if (ranks_at_speed_ > 0) rate = std::min(rate, ranks_at_speed_ / working[host_of_[r]]);
      }
      tasks_[id].intervals.back().seconds += rate * (at - now_);
    }
    now_ = at;
  }

  double ranks_at_speed_, now_ = 0, started_ = 0, seconds_ = 0;
  std::map<int, std::string> host_of_;
  std::map<std::string, MeasuredTask> tasks_;
  std::map<std::string, std::vector<int>> running_;
};

}  // namespace

Calibration calibrate(const std::filesystem::path& file, const TaskGraph& graph, double ranks_at_speed) {
  Timeline timeline(ranks_at_speed);
  std::istringstream lines(read_file(file));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    try {
      timeline.read(json::parse(line));
    } catch (const json::exception& e) {
      if (json::accept(line))  // else torn by a kill
        throw DataError("damaged-timeline",
                        fmt::format("{}:{}: not an event of a run's timeline: {}", file.string(), number, json_mismatch(e)));
    }
  }
  struct Sum {
    double cost = 0, seconds = 0;
  };
  std::map<std::string, std::map<int, Sum>> kinds;
  for (const auto& [id, task] : timeline.tasks()) {
    if (!graph.has(id)) continue;
    double step = 0;
    for (const MeasuredInterval& interval : task.intervals) {
      Sum& sum = kinds[kind_text(id)][interval.ranks];
      sum.cost += graph.at(id).cost * task.share(step, interval.step), sum.seconds += interval.seconds;
      step = interval.step;
    }
  }
  if (kinds.empty())
    throw DataError("timeline-of-another-run",
                    fmt::format("{} has none of the tasks of this configuration: it belongs to another run", file.string()));
  Calibration calibration;
  calibration.ranks = timeline.ranks(), calibration.seconds = timeline.seconds();
  for (const auto& [kind, sums] : kinds) {
    const auto one = sums.find(1);
    if (one == sums.end() || one->second.cost <= 0) continue;
    for (const auto& [ranks, sum] : sums) {
      if (ranks > 1 && sum.seconds > 0)
        calibration.speedup[kind][ranks] = (sum.cost / sum.seconds) / (one->second.cost / one->second.seconds);
    }
  }
  std::map<std::string, Sum> of_kind;
  Sum all;
  for (const auto& [id, task] : timeline.tasks()) {
    if (!graph.has(id)) continue;
    const std::string kind = kind_text(id);
    Sum sum;
    for (const MeasuredInterval& interval : task.intervals) {
      const auto measured = calibration.speedup[kind].find(interval.ranks);
      sum.seconds += interval.seconds *
                     (measured != calibration.speedup[kind].end() ? measured->second : speedup(graph.at(id), interval.ranks));
    }
    const double share = task.share(0, task.step);
    sum.cost = graph.at(id).cost * share;
    if (task.done && task.steps_max > 0 && share > 0) calibration.share[id] = std::min(1.0, share);
    if (sum.cost <= 0 || sum.seconds <= 0) continue;
    calibration.of_task[id] = sum.seconds / sum.cost;
    of_kind[kind].cost += sum.cost, of_kind[kind].seconds += sum.seconds;
    all.cost += sum.cost, all.seconds += sum.seconds;
  }
  for (const auto& [kind, sum] : of_kind) calibration.of_kind[kind] = sum.seconds / sum.cost;
  if (all.cost > 0) calibration.of_all = all.seconds / all.cost;
  return calibration;
}

TaskGraph calibrated(const TaskGraph& graph, const Calibration& calibration) {
  TaskGraph result;
  for (Task task : graph.tasks()) {
    const std::string kind = kind_text(task.id);
    const auto own = calibration.of_task.find(task.id);
    const auto like = calibration.of_kind.find(kind);
    task.cost *= own != calibration.of_task.end()    ? own->second
                 : like != calibration.of_kind.end() ? like->second
                                                     : calibration.of_all;
    task.load_cost = 0;  // in what was measured
    if (const auto curve = calibration.speedup.find(kind); curve != calibration.speedup.end()) {
      for (const auto& [ranks, measured] : curve->second) {  // larger groups go on from what was measured as they were modelled
        const auto at = static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(ranks)) - 1);
        if (at >= task.speedup.size()) continue;
        const double ratio = measured / task.speedup[at];
        for (std::size_t i = at; i < task.speedup.size(); ++i) {
          task.speedup[i] *= ratio;
          if (i < task.speedup_across.size()) task.speedup_across[i] *= ratio;
        }
      }
    }
    result.add(task);
  }
  return result;
}

}  // namespace dmoerm::plan
