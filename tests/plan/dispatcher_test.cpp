#include "plan/dispatcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"

namespace dmoerm::plan {
namespace {

TEST(TaskGraph, KnowsTheLongestChainBehindATaskAndTheBound) {
  TaskGraph graph;
  graph.add({"a", {}, 2, 1});
  graph.add({"b", {"a"}, 3, 1});
  graph.add({"c", {"a"}, 10, 1});
  graph.add({"d", {"b", "c"}, 1, 1});
  EXPECT_EQ(graph.chain_costs(), (std::vector<double>{13, 4, 11, 1}));
  EXPECT_DOUBLE_EQ(lower_bound(graph, even_cluster(1, 1, 0)).seconds(), 16);
  EXPECT_DOUBLE_EQ(lower_bound(graph, even_cluster(1, 4, 0)).seconds(), 13);
  EXPECT_EQ(lower_bound(graph, even_cluster(1, 4, 0)).chain_tasks, (std::vector<std::size_t>{0, 2, 3}));
  EXPECT_THROW(graph.add({"e", {"nowhere"}, 1, 1}), std::logic_error);
  EXPECT_THROW(graph.add({"a", {}, 1, 1}), std::logic_error);
}

TEST(GroupSizes, AreThoseThatMakeATaskFasterOnThisCluster) {
  Task task{"a", {}, 1, 16};
  task.speedup = {1, 1.9, 1.9, 3.5}, task.speedup_across = {1, 1.2, 1.4, 3, 3.2};
  EXPECT_EQ(group_sizes(task, even_cluster(1, 16, 0)), (std::vector<int>{1, 2, 8}))
      << "four are no faster than two, sixteen than eight";
  EXPECT_EQ(group_sizes(task, even_cluster(8, 2, 0)), (std::vector<int>{1, 2, 8, 16})) << "by the curve over several nodes";
  EXPECT_EQ(group_sizes(task, even_cluster(8, 1, 0)), (std::vector<int>{1, 2, 4, 8}));
  EXPECT_DOUBLE_EQ(best_speedup(task, even_cluster(2, 4, 0), 8), 3);
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
    for (const double c : graph.chain_costs()) chain = std::max(chain, c);
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

/// Four ranks of one node, which report idle; returns what starts.
std::vector<Assignment> all_idle(Dispatcher& dispatcher, int ranks) {
  std::vector<Assignment> started;
  for (int r = 0; r < ranks; ++r) {
    for (Assignment& a : dispatcher.on_idle(r)) started.push_back(std::move(a));
  }
  return started;
}

DispatcherOptions four_ranks(int retries = 0) { return {even_cluster(1, 4, 0), retries, true, 0.1}; }

TEST(Dispatcher, ExpectsAllRanksOfTheClusterBeforeItSharesThemOut) {
  TaskGraph graph;
  graph.add({"a", {}, 8, 4});
  Dispatcher dispatcher(graph, {}, four_ranks());
  EXPECT_TRUE(dispatcher.on_idle(0).empty());
  EXPECT_TRUE(dispatcher.on_idle(1).empty());
  EXPECT_TRUE(dispatcher.on_idle(2).empty());
  const auto started = dispatcher.on_idle(3);
  ASSERT_EQ(started.size(), 1U);
  EXPECT_EQ(started[0].ranks, (std::vector<int>{0, 1, 2, 3}));
}

TEST(Dispatcher, TriesAFailedTaskAgainAsOftenAsAllowedAndThenSkipsWhatNeedsIt) {
  TaskGraph graph;
  graph.add({"a", {}, 1, 1});
  graph.add({"after", {"a"}, 1, 1});
  Dispatcher dispatcher(graph, {}, {even_cluster(1, 1, 0), 2, true, 1});
  for (int attempt = 0; attempt < 2; ++attempt) {
    ASSERT_EQ(dispatcher.on_idle(0).at(0).task, "a");
    EXPECT_TRUE(dispatcher.on_failed("a", "out of memory", true));
    EXPECT_FALSE(dispatcher.finished());
  }
  ASSERT_EQ(dispatcher.on_idle(0).at(0).task, "a");
  EXPECT_FALSE(dispatcher.on_failed("a", "out of memory", true)) << "two retries are all";
  EXPECT_TRUE(dispatcher.on_idle(0).empty());
  EXPECT_TRUE(dispatcher.finished());
  EXPECT_EQ(dispatcher.failed().at("a"), "out of memory");
  EXPECT_EQ(dispatcher.skipped(), std::set<std::string>{"after"});
}

TEST(Dispatcher, DoesNotTryAgainWhatCannotSucceed) {
  TaskGraph graph;
  graph.add({"a", {}, 1, 1});
  Dispatcher dispatcher(graph, {}, {even_cluster(1, 1, 0), 5, true, 1});
  dispatcher.on_idle(0);
  EXPECT_FALSE(dispatcher.on_failed("a", "no labels", false));
}

TEST(Dispatcher, IdleRanksJoinTheRunningTaskThatEndsLast) {
  TaskGraph graph;
  for (const char* id : {"a", "b", "c", "d"}) graph.add({id, {}, 10, 4});
  Dispatcher dispatcher(graph, {}, four_ranks());
  const auto started = all_idle(dispatcher, 4);
  ASSERT_EQ(started.size(), 4U);
  EXPECT_TRUE(dispatcher.to_regroup().empty()) << "nobody is idle";
  dispatcher.on_progress("b", 2);
  dispatcher.on_progress("c", 8);
  dispatcher.on_progress("d", 4);
  dispatcher.on_done("a", true, "");
  EXPECT_TRUE(dispatcher.to_regroup().empty()) << "its rank has not reported yet";
  EXPECT_TRUE(dispatcher.on_idle(started[0].ranks[0]).empty());
  EXPECT_EQ(dispatcher.to_regroup(), std::vector<std::string>{"c"});
  dispatcher.on_progress("c", 7);
  EXPECT_TRUE(dispatcher.to_regroup().empty()) << "named once";
  dispatcher.on_paused("c");
  const auto again = dispatcher.on_idle(started[2].ranks[0]);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].task, "c");
  EXPECT_EQ(again[0].ranks.size(), 2U);
}

TEST(Dispatcher, ATaskThatCannotPauseFreesItsRanksForOthersAndIsAskedAgainLater) {
  TaskGraph graph;
  for (const char* id : {"a", "b", "c", "d"}) graph.add({id, {}, 10, 2});
  Dispatcher dispatcher(graph, {}, four_ranks());
  const auto started = all_idle(dispatcher, 4);
  ASSERT_EQ(started.size(), 4U);
  dispatcher.on_time(1);
  dispatcher.on_progress("b", 6);
  dispatcher.on_progress("c", 8);
  dispatcher.on_progress("d", 4);
  dispatcher.on_done("a", true, "");
  dispatcher.on_idle(started[0].ranks[0]);
  ASSERT_EQ(dispatcher.to_regroup(), std::vector<std::string>{"c"});
  dispatcher.on_pause_refused("c");
  EXPECT_EQ(dispatcher.to_regroup(), std::vector<std::string>{"b"}) << "the idle rank joins the next one";
  dispatcher.on_pause_refused("b");
  dispatcher.on_time(50);
  dispatcher.on_progress("c", 7.9);
  EXPECT_TRUE(dispatcher.to_regroup().empty()) << "not so soon";
  dispatcher.on_time(62);
  dispatcher.on_progress("c", 7.8);
  EXPECT_EQ(dispatcher.to_regroup(), std::vector<std::string>{"c"}) << "a minute later it is asked again";
  dispatcher.on_pause_refused("a");  // it has ended, so the message comes too late
}

TEST(Dispatcher, DoesNotBreakOffWhatEndsSoonAnyway) {
  TaskGraph graph;
  for (const char* id : {"a", "b"}) graph.add({id, {}, 10, 4});
  Dispatcher dispatcher(graph, {}, {even_cluster(1, 2, 0), 0, true, 1});
  all_idle(dispatcher, 2);
  dispatcher.on_progress("b", 1.5);
  dispatcher.on_done("a", true, "");
  dispatcher.on_idle(0);
  EXPECT_TRUE(dispatcher.to_regroup().empty()) << "0.8 s are won, pausing costs 1 s";
}

TEST(Dispatcher, ALargeCheckpointMakesAPauseExpensive) {
  TaskGraph graph;
  for (const char* id : {"a", "b"}) {
    Task task{id, {}, 1000, 4};
    task.checkpoint_mib = 100'000;  // 400 s there and back at the rate that is assumed
    graph.add(task);
  }
  Dispatcher dispatcher(graph, {}, {even_cluster(1, 2, 0), 0, true, 1});
  all_idle(dispatcher, 2);
  EXPECT_DOUBLE_EQ(dispatcher.pause_cost(0), 401);
  dispatcher.on_progress("b", 600);
  dispatcher.on_done("a", true, "");
  dispatcher.on_idle(0);
  EXPECT_TRUE(dispatcher.to_regroup().empty()) << "about 270 s are won, pausing costs 401 s";
  dispatcher.on_checkpoint(10'000);
  dispatcher.on_progress("b", 590);
  EXPECT_EQ(dispatcher.to_regroup(), std::vector<std::string>{"b"}) << "pausing costs 21 s on a disk that is measured to be fast";
}

TEST(Dispatcher, AConfiguredRateOfCheckpointsIsNotMeasured) {
  TaskGraph graph;
  Task task{"a", {}, 1000, 4};
  task.checkpoint_mib = 1000;
  graph.add(task);
  Dispatcher dispatcher(
      graph, {}, {.cluster = even_cluster(1, 2, 0), .pause_cost = 1, .checkpoint_mib_s = 100, .measure_checkpoints = false});
  dispatcher.on_checkpoint(10'000);
  EXPECT_DOUBLE_EQ(dispatcher.pause_cost(0), 21);
}

TEST(Dispatcher, DoesNotBreakOffForRanksThatOthersWillWantAtOnce) {
  TaskGraph graph;
  graph.add({"base", {}, 2, 1});
  Task join{"long", {}, 10, 2};
  join.speedup = {1, 1.3};
  graph.add(join);
  graph.add({"x", {"base"}, 10, 1});
  graph.add({"y", {"base"}, 10, 1});
  graph.add({"other", {}, 11, 1});
  Dispatcher dispatcher(graph, {}, {{}, 0, true, 0.1});
  const auto started = all_idle(dispatcher, 3);
  ASSERT_EQ(started.size(), 3U);
  dispatcher.on_progress("base", 0.5);
  const auto other = std::ranges::find(started, std::string("other"), &Assignment::task);
  dispatcher.on_done("other", true, "");
  dispatcher.on_idle(other->ranks[0]);
  EXPECT_TRUE(dispatcher.to_regroup().empty()) << "x and y start in half a second";
}

TEST(Dispatcher, WhatCannotPauseIsNeverAskedTo) {
  TaskGraph graph;
  for (const char* id : {"a", "b"}) {
    Task task{id, {}, 10, 4};
    task.pauses = false;
    graph.add(task);
  }
  Dispatcher dispatcher(graph, {}, {even_cluster(1, 2, 0), 0, true, 0.1});
  all_idle(dispatcher, 2);
  dispatcher.on_done("a", true, "");
  dispatcher.on_idle(0);
  EXPECT_TRUE(dispatcher.to_regroup().empty());
}

TEST(Dispatcher, ARankThatReportsBeforeItsGroupsLeaderIsNotWaitedForAgain) {
  TaskGraph graph;
  graph.add({"a", {}, 4, 2});
  graph.add({"b", {"a"}, 4, 2});
  Dispatcher dispatcher(graph, {}, {even_cluster(1, 2, 0), 0, true, 1});
  ASSERT_EQ(all_idle(dispatcher, 2).at(0).ranks.size(), 2U);
  EXPECT_TRUE(dispatcher.on_idle(1).empty());
  EXPECT_TRUE(dispatcher.on_done("a", true, "").empty());
  const auto started = dispatcher.on_idle(0);
  ASSERT_EQ(started.size(), 1U);
  EXPECT_EQ(started[0].ranks.size(), 2U);
}

TEST(Dispatcher, OfEqualTasksARankTakesTheOneWhoseBaseItHolds) {
  TaskGraph graph;
  for (const auto& [id, base] :
       std::vector<std::pair<const char*, const char*>>{{"x1", "x"}, {"y1", "y"}, {"x2", "x"}, {"y2", "y"}}) {
    Task task{id, {}, 10, 1};
    task.base = base, task.load_cost = 1;
    graph.add(task);
  }
  for (const bool early : {false, true}) {
    Dispatcher dispatcher(graph, {}, {even_cluster(1, 2, 0), 0, true, 1});
    std::map<std::string, int> rank_of;
    for (const Assignment& a : all_idle(dispatcher, 2)) rank_of[a.task] = a.ranks.at(0);
    std::vector<std::string> first;
    for (const auto& [task, rank] : rank_of) first.push_back(task);
    ASSERT_EQ(first.size(), 2U);
    const std::string& ends = first[early ? 0 : 1];
    dispatcher.on_done(ends, true, "");
    const auto next = dispatcher.on_idle(rank_of[ends]);
    ASSERT_EQ(next.size(), 1U);
    EXPECT_EQ(next[0].task.substr(0, 1), ends.substr(0, 1));
  }
}

TEST(Dispatcher, RefusesATaskThatFitsNowhere) {
  TaskGraph graph;
  Task task{"base/chat", {}, 1, 2};
  task.memory_mib = 4000, task.sharded_mib = 9000;
  graph.add(task);
  EXPECT_NO_THROW(Dispatcher(graph, {}, {even_cluster(1, 2, 8500), 0, true, 1}));
  EXPECT_NO_THROW(Dispatcher(graph, {"base/chat"}, {even_cluster(1, 2, 100), 0, true, 1})) << "it is done";
  try {
    Dispatcher(graph, {}, {{{0, 8000}, {0, 8200}}, 0, true, 1});
    FAIL() << "must throw";
  } catch (const ConfigError& e) {
    const std::string message = e.what();
    for (const char* part : {"base/chat", "8500", "2 ranks", "8200"}) EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(Dispatcher, WaitsForExternalTasksOnlyOnceTheirInputsAreDone) {
  TaskGraph graph;
  Task task{"label-round-1", {}};
  task.external = true;
  graph.add(task);
  graph.add({"expert-round-1", {"label-round-1"}});
  task.id = "label", task.inputs = {"expert-round-1"};
  graph.add(task);
  graph.add({"expert", {"label"}});
  const auto started = [](const std::vector<Assignment>& assignments) { return assignments.empty() ? "" : assignments[0].task; };
  Dispatcher dispatcher(graph, {});
  EXPECT_EQ(started(dispatcher.on_idle(0)), "");
  EXPECT_EQ(started(dispatcher.on_done("label-round-1", true, "")), "expert-round-1");
  dispatcher.on_done("expert-round-1", true, "");
  EXPECT_FALSE(dispatcher.finished()) << "the second round is labelled now";
  EXPECT_EQ(started(dispatcher.on_idle(0)), "");
  EXPECT_EQ(started(dispatcher.on_done("label", true, "")), "expert");

  Dispatcher failing(graph, {"label-round-1"});
  EXPECT_EQ(started(failing.on_idle(0)), "expert-round-1");
  EXPECT_FALSE(failing.on_failed("expert-round-1", "NaN", false));
  EXPECT_TRUE(failing.finished()) << "nothing is labelled by an expert that failed";
  EXPECT_EQ(failing.skipped(), (std::set<std::string>{"label", "expert"}));

  Dispatcher leaving(graph, {"label-round-1"});
  EXPECT_EQ(started(leaving.on_idle(0)), "expert-round-1");
  leaving.on_left("label");
  leaving.on_done("expert-round-1", true, "");
  EXPECT_TRUE(leaving.finished()) << "a task that is left for a later run is not waited for when its inputs are done";
}

}  // namespace
}  // namespace dmoerm::plan
