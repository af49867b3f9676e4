#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/rng.h"
#include "plan/dispatcher.h"

namespace dmoerm::plan {
namespace {

TEST(TaskGraph, KnowsTheLongestChainBehindATask) {
  TaskGraph graph;
  graph.add({"a", {}, 2, 1});
  graph.add({"b", {"a"}, 3, 1});
  graph.add({"c", {"a"}, 10, 1});
  graph.add({"d", {"b", "c"}, 1, 1});
  EXPECT_DOUBLE_EQ(graph.chain_cost("a"), 13);
  EXPECT_DOUBLE_EQ(graph.chain_cost("b"), 4);
  EXPECT_DOUBLE_EQ(graph.chain_cost("d"), 1);
  EXPECT_THROW(graph.add({"e", {"nowhere"}, 1, 1}), std::logic_error);
  EXPECT_THROW(graph.add({"a", {}, 1, 1}), std::logic_error);
}

TEST(Place, GivesEveryReadyTaskOneRankBeforeAnyGetsMore) {
  const auto placed = place({{"small", 1, 1, 8}, {"large", 9, 9, 8}, {"middle", 5, 5, 8}}, {3, 1, 2, 0});
  ASSERT_EQ(placed.size(), 3U);
  EXPECT_EQ(placed[0].id, "large");
  EXPECT_EQ(placed[0].ranks, (std::vector<int>{0, 1}));  // the rank left over goes to the slowest
  EXPECT_EQ(placed[1].ranks, std::vector<int>{2});
  EXPECT_EQ(placed[2].ranks, std::vector<int>{3});
}

TEST(Place, RespectsTheLargestUsefulGroupAndPowersOfTwo) {
  Rng rng(5);
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<ReadyTask> ready;
    std::vector<int> idle;
    for (std::uint64_t i = 0, n = rng.below(6); i < n; ++i)
      ready.push_back({"t" + std::to_string(i), rng.uniform(), 0.1 + rng.uniform(), 1 << rng.below(4)});
    for (int r = 0; r < static_cast<int>(rng.below(20)); ++r) idle.push_back(r);
    const auto placed = place(ready, idle);
    EXPECT_EQ(placed.size(), std::min(ready.size(), idle.size()));
    std::set<int> used;
    for (const Placed& p : placed) {
      const auto task = std::ranges::find(ready, p.id, &ReadyTask::id);
      EXPECT_LE(static_cast<int>(p.ranks.size()), task->ranks_max);
      EXPECT_TRUE(std::has_single_bit(p.ranks.size()));
      for (const int r : p.ranks) EXPECT_TRUE(used.insert(r).second);
    }
  }
}

/// Run a random graph on simulated ranks; returns the makespan.
double simulate(const TaskGraph& graph, int ranks, std::set<std::string>* done) {
  Dispatcher dispatcher(graph, {});
  struct Running {
    double end;
    Assignment assignment;
  };
  std::vector<Running> running;
  double now = 0;
  const auto start = [&](const std::vector<Assignment>& assignments) {
    for (const Assignment& a : assignments)
      running.push_back(
          {now + graph.at(a.task).cost / (static_cast<double>(a.ranks.size()) * std::pow(0.9, std::log2(a.ranks.size()))), a});
  };
  for (int r = 0; r < ranks; ++r) start(dispatcher.on_idle(r));
  while (!running.empty()) {
    const auto next = std::ranges::min_element(running, {}, &Running::end);
    const Running finished = *next;
    running.erase(next);
    now = finished.end;
    start(dispatcher.on_done(finished.assignment.task, true, ""));
    for (const int r : finished.assignment.ranks) start(dispatcher.on_idle(r));
  }
  EXPECT_TRUE(dispatcher.finished());
  *done = dispatcher.done();
  return now;
}

TEST(Dispatcher, FinishesRandomGraphsNearTheLowerBound) {
  const std::uint64_t seed = 20261124;
  Rng rng(seed);
  double worst = 0;
  for (int trial = 0; trial < 200; ++trial) {
    TaskGraph graph;
    const auto n = static_cast<int>(5 + rng.below(30)), ranks = static_cast<int>(1 + rng.below(8));
    double work = 0, chain = 0;
    for (int i = 0; i < n; ++i) {
      Task task{"t" + std::to_string(i), {}, 0.2 + rng.uniform() * 3, 1};
      for (int j = std::max(0, i - 6); j < i; ++j) {
        if (rng.below(8) == 0) task.inputs.push_back("t" + std::to_string(j));
      }
      work += task.cost;
      graph.add(task);
    }
    for (const Task& t : graph.tasks()) chain = std::max(chain, graph.chain_cost(t.id));
    std::set<std::string> done;
    const double makespan = simulate(graph, ranks, &done);
    EXPECT_EQ(done.size(), static_cast<std::size_t>(n));
    worst = std::max(worst, makespan / std::max(work / ranks, chain));
  }
  EXPECT_LT(worst, 2.0) << "seed " << seed;  // list scheduling's guarantee is 2 - 1 / ranks
}

TEST(Dispatcher, WaitsForTasksThatAreDoneElsewhereAndGivesThemToNoRank) {
  TaskGraph graph;
  graph.add({"base", {}, 1, 1});
  graph.add({"label", {}, 1, 1, true});
  graph.add({"late", {}, 1, 1, true});
  graph.add({"expert", {"base", "label"}, 1, 1});
  graph.add({"other", {"base", "late"}, 1, 1});
  Dispatcher dispatcher(graph, {});
  const auto first = dispatcher.on_idle(0);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].task, "base");
  EXPECT_TRUE(dispatcher.on_done("base", true, "").empty()) << "the rank is not idle yet";
  EXPECT_TRUE(dispatcher.on_idle(0).empty());
  EXPECT_FALSE(dispatcher.finished()) << "labelling is under way";
  const auto second = dispatcher.on_done("label", true, "");
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].task, "expert");
  dispatcher.on_left("late");
  dispatcher.on_done("expert", true, "");
  EXPECT_TRUE(dispatcher.on_idle(0).empty());
  EXPECT_TRUE(dispatcher.finished());
  EXPECT_EQ(dispatcher.skipped(), (std::set<std::string>{"late", "other"}));
}

TEST(Dispatcher, AFailureStopsOnlyWhatNeedsIt) {
  TaskGraph graph;
  graph.add({"a", {}, 1, 1});
  graph.add({"b", {}, 1, 1});
  graph.add({"after_a", {"a"}, 1, 1});
  graph.add({"after_b", {"b"}, 1, 1});
  Dispatcher dispatcher(graph, {});
  EXPECT_EQ(dispatcher.on_idle(0).at(0).task, "a");
  EXPECT_TRUE(dispatcher.on_done("a", false, "NaN").empty());
  EXPECT_EQ(dispatcher.on_idle(0).at(0).task, "b");
  dispatcher.on_done("b", true, "");
  EXPECT_EQ(dispatcher.on_idle(0).at(0).task, "after_b");
  EXPECT_FALSE(dispatcher.finished());
  dispatcher.on_done("after_b", true, "");
  EXPECT_TRUE(dispatcher.finished());
  EXPECT_EQ(dispatcher.skipped(), std::set<std::string>{"after_a"});
  EXPECT_EQ(dispatcher.failed().at("a"), "NaN");
}

}  // namespace
}  // namespace dmoerm::plan
