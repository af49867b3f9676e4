// Figures of placement that need no ranks: plan_bench makespan SEEDS LEAST | large TASKS RANKS | messages TASKS RANKS. Prints one
// JSON line.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "plan/dispatcher.h"
#include "plan/simulator.h"

namespace {

using namespace dmoerm;
using namespace dmoerm::plan;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double at_share(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

/// Twelve experts of one or of unequal length over four ranks; each stops at a random share of its longest course.
json makespan(int seeds, double least, double efficiency, bool unequal, bool regroup) {
  std::vector<double> ratios;
  for (int seed = 0; seed < seeds; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "lengths");
    TaskGraph graph;
    for (int i = 0; i < 12; ++i) {
      Task task{fmt::format("expert/c{}/{}", i / 4, i), {}, 3600 * (unequal ? 0.5 + rng.uniform() : 1.0), 4};
      task.speedup = {1, 2 * efficiency, 4 * efficiency * efficiency};
      graph.add(task);
    }
    SimulationOptions options;
    options.cluster = even_cluster(1, 4, 0);
    options.share = draw_early_stops(graph, static_cast<std::uint64_t>(seed), least);
    options.evaluation_share = 0.02;
    options.regroup = regroup;
    const Simulation s = simulate(graph, options);
    ratios.push_back(s.makespan / s.bound.seconds());
  }
  return {{"efficiency_per_doubling", efficiency},
          {"unequal", unequal},
          {"regroup", regroup},
          {"seeds", seeds},
          {"median", at_share(ratios, 0.5)},
          {"p99", at_share(ratios, 0.99)},
          {"worst", at_share(ratios, 1)}};
}

/// Categories of a base, `experts` experts, features and an aggregator, of random lengths.
TaskGraph large_graph(int tasks, std::uint64_t seed) {
  Rng rng(seed, "large graph");
  TaskGraph graph;
  constexpr int kExperts = 17;
  for (int c = 0; static_cast<int>(graph.tasks().size()) + kExperts + 3 <= tasks; ++c) {
    const std::string category = std::to_string(c);
    const auto add = [&](const std::string& id, const std::vector<std::string>& inputs, double cost) {
      Task task{id, inputs, cost, 64};
      task.base = category, task.load_cost = 5;
      graph.add(task);
    };
    add("base/" + category, {}, 1000 + 1000 * rng.uniform());
    std::vector<std::string> experts;
    for (int k = 0; k < kExperts; ++k) {
      experts.push_back(fmt::format("expert/{}/{}", category, k));
      add(experts.back(), {"base/" + category}, 100 + 900 * rng.uniform());
    }
    add("features/" + category, experts, 100);
    add("aggregator/" + category, {"features/" + category}, 10);
  }
  return graph;
}

json large(int tasks, int ranks) {
  const auto start = Clock::now();
  const TaskGraph graph = large_graph(tasks, 1);
  SimulationOptions options;
  options.cluster = even_cluster(ranks / 8, 8, 0);
  options.share = draw_early_stops(graph, 1, 0.3);
  const Simulation s = simulate(graph, options);
  return {{"tasks", graph.tasks().size()},
          {"ranks", ranks},
          {"seconds", seconds_since(start)},
          {"makespan_s", s.makespan},
          {"to_lower_bound", s.makespan / s.bound.seconds()},
          {"stays", s.intervals.size()}};
}

/// A coordinator's hour: ranks report idle, progress, ends and failures in a random order of times.
json messages(int tasks, int ranks) {
  const TaskGraph graph = large_graph(tasks, 2);
  Dispatcher dispatcher(graph, {}, {even_cluster(ranks / 8, 8, 0), 1, true, 2});
  Rng rng(3);
  std::vector<double> microseconds;
  const auto timed = [&](const auto& call) {
    const auto start = Clock::now();
    auto result = call();
    microseconds.push_back(1e6 * seconds_since(start));
    return result;
  };
  struct Running {
    double end, next;
    Assignment assignment;
    double cost_left;
    bool pausing = false;
  };
  std::vector<Running> running;
  double now = 0;
  const auto start = [&](std::vector<Assignment> assignments) {
    for (Assignment& a : assignments) {
      const double cost = graph.at(a.task).cost * (0.3 + 0.7 * rng.uniform()) / static_cast<double>(a.ranks.size());
      running.push_back({now + cost, now + cost * rng.uniform() / 4, std::move(a), cost, false});
    }
  };
  for (int r = 0; r < ranks; ++r) start(timed([&] { return dispatcher.on_idle(r); }));
  std::size_t failures = 0, regroups = 0;
  while (!running.empty()) {
    const auto next = std::ranges::min_element(running, {}, [](const Running& r) { return std::min(r.end, r.next); });
    now = std::min(next->end, next->next);
    dispatcher.on_time(now);
    const std::string task = next->assignment.task;
    if (next->next < next->end) {
      const double left = next->end - now;
      next->next = now + std::max(1.0, left / 4);
      timed([&] { return dispatcher.on_progress(task, left), 0; });
      if (!next->pausing) continue;
    }
    const Running ended = *next;
    running.erase(next);
    if (ended.pausing) {
      timed([&] { return dispatcher.on_paused(task), 0; });
    } else if (rng.below(50) == 0) {
      ++failures;
      timed([&] { return dispatcher.on_failed(task, "out of memory", true); });
    } else {
      start(timed([&] { return dispatcher.on_done(task, true, ""); }));
    }
    for (const int r : ended.assignment.ranks) start(timed([&] { return dispatcher.on_idle(r); }));
    for (const std::string& named : timed([&] { return dispatcher.to_regroup(); })) {
      ++regroups;
      std::ranges::find(running, named, [](const Running& r) { return r.assignment.task; })->pausing = true;
    }
  }
  double sum = 0;
  for (const double us : microseconds) sum += us;
  return {{"tasks", graph.tasks().size()},
          {"ranks", ranks},
          {"messages", microseconds.size()},
          {"failures", failures},
          {"regroups", regroups},
          {"done", dispatcher.done().size()},
          {"mean_us", sum / static_cast<double>(microseconds.size())},
          {"p99_us", at_share(microseconds, 0.99)},
          {"worst_us", at_share(microseconds, 1)}};
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i) { return std::atof(argv[i]); };
  json result;
  if (argc == 4 && std::strcmp(argv[1], "makespan") == 0) {
    result = json::array();
    for (const double efficiency : {1.0, 0.95, 0.9}) {
      for (const bool unequal : {false, true})
        result.push_back(makespan(static_cast<int>(number(2)), number(3), efficiency, unequal, true));
    }
    result.push_back(makespan(static_cast<int>(number(2)), number(3), 0.95, false, false));
  } else if (argc == 4 && std::strcmp(argv[1], "large") == 0) {
    result = large(static_cast<int>(number(2)), static_cast<int>(number(3)));
  } else if (argc == 4 && std::strcmp(argv[1], "messages") == 0) {
    result = messages(static_cast<int>(number(2)), static_cast<int>(number(3)));
  } else {
    fmt::print(stderr, "usage: plan_bench makespan SEEDS LEAST | large TASKS RANKS | messages TASKS RANKS\n");
    return 2;
  }
  fmt::print("{}\n", result.dump());
  return 0;
}
