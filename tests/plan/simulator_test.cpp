#include "plan/simulator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"

namespace dmoerm::plan {
namespace {

TaskGraph experts(int count, double cost, int ranks_max) {
  TaskGraph graph;
  for (int i = 0; i < count; ++i) graph.add({"expert/c/" + std::to_string(i), {}, cost, ranks_max});
  return graph;
}

SimulationOptions on(int nodes, int per_node) {
  SimulationOptions options;
  options.cluster = even_cluster(nodes, per_node, 0);
  return options;
}

TEST(Simulate, AddsUpWhatTheRanksDid) {
  const TaskGraph graph = experts(5, 100, 1);
  const Simulation s = simulate(graph, on(1, 2));
  EXPECT_DOUBLE_EQ(s.makespan, 300);
  EXPECT_DOUBLE_EQ(s.busy_s, 500);
  EXPECT_DOUBLE_EQ(s.work_s, 500);
  EXPECT_DOUBLE_EQ(s.bound.seconds(), 250);
  EXPECT_EQ(s.intervals.size(), 5U);
}

TEST(Simulate, ANewGroupTakesTheIdleRanksAtAnEvaluation) {
  const TaskGraph graph = experts(2, 100, 2);
  SimulationOptions options = on(1, 2);
  options.share["expert/c/0"] = 0.3;
  const Simulation s = simulate(graph, options);
  ASSERT_EQ(s.regroupings, 1);
  const auto paused = std::ranges::find(s.intervals, Outcome::paused, &TaskInterval::outcome);
  EXPECT_NEAR(paused->end, 35, 1e-6) << "evaluations are at 5, 10, ... seconds; at 30 it was just past one";
  EXPECT_NEAR(s.makespan, 35 + 2 + 65 / 1.8, 1e-6);
  options.regroup = false;
  EXPECT_DOUBLE_EQ(simulate(graph, options).makespan, 100);
}

TEST(Simulate, AFailureCostsTheRestartAndTheTimeSinceTheLastCheckpoint) {
  const TaskGraph graph = experts(1, 10000, 1);
  SimulationOptions options = on(1, 1);
  options.node_mtbf_s = 4000, options.checkpoint_every_s = 600, options.restart_s = 50;
  const Simulation s = simulate(graph, options);
  ASSERT_FALSE(s.failures.empty());
  EXPECT_GT(s.lost_s, 0);
  EXPECT_LE(s.lost_s, 600.0 * static_cast<double>(s.failures.size()));
  EXPECT_NEAR(s.makespan, 10000 + s.lost_s + 50.0 * static_cast<double>(s.failures.size()), 1e-6);
  options.checkpoint_every_s = 60;
  EXPECT_LT(simulate(graph, options).lost_s, s.lost_s);
}

TEST(Simulate, RanksBeyondTheCoresShareThem) {
  SimulationOptions options = on(1, 4);
  options.ranks_at_speed = 2;
  EXPECT_NEAR(simulate(experts(4, 100, 1), options).makespan, 200, 1e-6);
}

TEST(Simulate, RandomJobsEndWithEveryTaskDoneInOrderAndNoRankUsedTwice) {
  Rng rng(3);
  for (int job = 0; job < 40; ++job) {
    TaskGraph graph;
    const auto n = static_cast<int>(5 + rng.below(30));
    for (int i = 0; i < n; ++i) {
      Task task{"expert/c/" + std::to_string(i), {}, 20 + 300 * rng.uniform(), 1 << rng.below(3)};
      for (int j = std::max(0, i - 5); j < i; ++j) {
        if (rng.below(6) == 0) task.inputs.push_back("expert/c/" + std::to_string(j));
      }
      graph.add(task);
    }
    SimulationOptions options = on(static_cast<int>(1 + rng.below(2)), static_cast<int>(1 + rng.below(4)));
    options.share = draw_early_stops(graph, rng.next(), 0.2);
    if (rng.below(2) == 0) options.node_mtbf_s = 2000;
    options.seed = rng.next();
    const Simulation s = simulate(graph, options), again = simulate(graph, options);
    EXPECT_EQ(s.makespan, again.makespan);
    std::map<std::size_t, double> ended;
    for (const TaskInterval& interval : s.intervals) {
      EXPECT_TRUE(interval.outcome != Outcome::done || ended.emplace(interval.task, interval.end).second);
    }
    ASSERT_EQ(ended.size(), graph.tasks().size());
    for (const TaskInterval& interval : s.intervals) {
      for (const std::size_t input : graph.inputs(interval.task)) EXPECT_GE(interval.start, ended[input] - 1e-6);
      for (const TaskInterval& other : s.intervals) {
        if (&other == &interval || other.start >= interval.end - 1e-9 || interval.start >= other.end - 1e-9) continue;
        for (const int r : interval.ranks) EXPECT_EQ(std::ranges::count(other.ranks, r), 0);
      }
    }
    EXPECT_GE(s.makespan, s.bound.seconds() * (1 - 1e-9));
  }
}

TEST(Simulate, TwelveExpertsOnFourRanksStayNearTheLowerBoundHoweverTheyStop) {
  std::vector<double> ratios;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    TaskGraph graph = experts(12, 3600, 4);
    SimulationOptions options = on(1, 4);
    options.share = draw_early_stops(graph, seed, 0.2);
    const Simulation s = simulate(graph, options);
    ratios.push_back(s.makespan / s.bound.seconds());
  }
  std::ranges::sort(ratios);
  std::printf("median %.4f, worst %.4f of the lower bound\n", ratios[25], ratios.back());
  EXPECT_LE(ratios.back(), 1.10);
}

}  // namespace
}  // namespace dmoerm::plan
