#include "plan/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "base/rng.h"
#include "plan/schedule_search.h"

namespace dmoerm::plan {
namespace {

constexpr double kEffort = 4e5;  // the dispatcher's

/// A small job: tasks with inputs among the earlier ones, each with its own curve of sublinear speed-up, some of which need more
/// memory than one device has.
TaskGraph random_graph(Rng& rng, int tasks, double memory) {
  TaskGraph graph;
  for (int i = 0; i < tasks; ++i) {
    Task task{"t" + std::to_string(i), {}, 0.2 + 5 * rng.uniform() * rng.uniform(), 1 << rng.below(3)};
    for (int j = 0; j < i; ++j) {
      if (rng.below(4) == 0) task.inputs.push_back("t" + std::to_string(j));
    }
    task.speedup = {1};
    while (task.speedup.size() < 3) task.speedup.push_back(task.speedup.back() * (1 + rng.uniform()));
    if (memory > 0) task.sharded_mib = memory * 0.9 * static_cast<double>(task.ranks_max) * rng.uniform();
    graph.add(task);
  }
  return graph;
}

Problem problem_of(const TaskGraph& graph, const Cluster& cluster) {
  Problem problem{cluster, std::vector<double>(cluster.size(), 0.0), std::vector<int>(cluster.size(), -1), {}};
  const std::vector<double> chains = graph.chain_costs();
  for (std::size_t i = 0; i < graph.tasks().size(); ++i) {
    const Task& task = graph.tasks()[i];
    problem.open.push_back({&task,
                            i,
                            -1,
                            group_sizes(task, cluster),
                            task.cost,
                            chains[i] - task.cost,
                            0.0,
                            static_cast<int>(graph.inputs(i).size()),
                            {}});
    for (const std::size_t input : graph.inputs(i)) problem.open[input].dependents.push_back(static_cast<int>(i));
  }
  return problem;
}

/// The shortest makespan on equal ranks of one node, by trying every order of starts and every group size. Tasks are placed in
/// the order of their starts; each starts as soon as its inputs have ended and enough ranks are free, but not before the last
/// placed.
class BruteForce {
 public:
  BruteForce(const TaskGraph& graph, const Cluster& cluster) : graph_(graph), n_(graph.tasks().size()), ends_(n_) {
    for (const Task& task : graph.tasks()) {
      sizes_.emplace_back();
      for (int size = 1; size <= task.ranks_max; size *= 2) {
        const auto fits = [&](const Device& d) { return d.memory_mib <= 0 || memory_mib(task, size) <= d.memory_mib; };
        if (std::ranges::count_if(cluster, fits) >= size) sizes_.back().push_back(size);
      }
      double best = std::numeric_limits<double>::infinity();
      for (const int size : sizes_.back()) best = std::min(best, task.cost / speedup(task, size));
      shortest_.push_back(best);
    }
    tail_ = shortest_;
    for (std::size_t i = n_; i-- > 0;) {
      for (const std::size_t input : graph.inputs(i)) tail_[input] = std::max(tail_[input], shortest_[input] + tail_[i]);
    }
  }
  double optimum(int ranks) {
    best_ = std::numeric_limits<double>::infinity();
    descend(0, 0, std::vector<double>(static_cast<std::size_t>(ranks), 0.0), 0);
    return best_;
  }

 private:
  void descend(unsigned placed, double last_start, const std::vector<double>& free_at, double makespan) {
    if (placed == (1U << n_) - 1) {
      best_ = std::min(best_, makespan);
      return;
    }
    for (std::size_t i = 0; i < n_; ++i) {
      if ((placed >> i & 1U) != 0) continue;
      double ready = last_start;
      bool can = true;
      for (const std::size_t input : graph_.inputs(i)) {
        can = can && (placed >> input & 1U) != 0;
        ready = std::max(ready, ends_[input]);
      }
      if (!can) continue;
      for (const int size : sizes_[i]) {
        std::vector<double> free = free_at;
        std::ranges::sort(free);
        const double start = std::max(ready, free[static_cast<std::size_t>(size) - 1]);
        if (start + tail_[i] >= best_) continue;
        const double end = start + graph_.tasks()[i].cost / speedup(graph_.tasks()[i], size);
        std::fill_n(free.begin(), size, end);
        ends_[i] = end;
        descend(placed | 1U << i, start, free, std::max(makespan, end));
      }
    }
  }

  const TaskGraph& graph_;
  std::size_t n_;
  std::vector<double> ends_, shortest_, tail_;
  std::vector<std::vector<int>> sizes_;
  double best_ = 0;
};

/// Ranks are used by one task at a time, inputs end first, and no device holds more than it has.
void expect_valid(const TaskGraph& graph, const Cluster& cluster, const Schedule& schedule) {
  ASSERT_EQ(schedule.placed.size(), graph.tasks().size());
  std::vector<double> end(schedule.placed.size());
  for (const Placed& p : schedule.placed) end[p.id] = p.end;
  for (const Placed& p : schedule.placed) {
    const Task& task = graph.tasks()[p.id];
    const int size = static_cast<int>(p.ranks.size());
    EXPECT_TRUE(std::has_single_bit(p.ranks.size()));
    EXPECT_LE(size, task.ranks_max);
    EXPECT_LE(p.end, schedule.makespan);
    for (const int r : p.ranks) {
      const double has = cluster[static_cast<std::size_t>(r)].memory_mib;
      EXPECT_TRUE(has <= 0 || memory_mib(task, size) <= has) << task.id;
    }
    for (const std::size_t input : graph.inputs(p.id)) EXPECT_GE(p.start, end[input]);
    for (const Placed& q : schedule.placed) {
      if (&p == &q || p.start >= q.end || q.start >= p.end) continue;
      for (const int r : p.ranks) EXPECT_EQ(std::ranges::count(q.ranks, r), 0);
    }
  }
}

TEST(SearchSchedule, IsWithinTenPercentOfTheOptimumOnSmallRandomJobs) {
  const std::uint64_t seed = 20261124;
  Rng rng(seed);
  double worst = 1, sum = 0;
  constexpr int kJobs = 1000;
  for (int job = 0; job < kJobs;) {
    const int ranks = static_cast<int>(2 + rng.below(3)), tasks = static_cast<int>(3 + rng.below(4));
    const double memory = rng.below(2) == 0 ? 0 : 1000;
    const Cluster cluster = even_cluster(1, ranks, memory);
    TaskGraph graph = random_graph(rng, tasks, memory);
    if (std::ranges::any_of(graph.tasks(), [&](const Task& t) { return group_sizes(t, cluster).empty(); })) continue;
    const Problem problem = problem_of(graph, cluster);
    const Schedule schedule = search_schedule(problem, kEffort);
    expect_valid(graph, cluster, schedule);
    const double ratio = schedule.makespan / BruteForce(graph, cluster).optimum(ranks);
    EXPECT_GT(ratio, 1 - 1e-9) << "job " << job << ": the brute force is none";
    EXPECT_LE(ratio, 1.1) << "job " << job << " of seed " << seed;
    worst = std::max(worst, ratio), sum += ratio;
    ++job;
  }
  RecordProperty("worst", std::to_string(worst));
  std::printf("worst %.4f, mean %.5f of the optimum\n", worst, sum / kJobs);
}

TEST(SearchSchedule, RespectsMemoryOfUnequalDevicesAndIsDeterministic) {
  Rng rng(11);
  for (int job = 0; job < 200; ++job) {
    Cluster cluster;
    for (int r = 0; r < 6; ++r) cluster.push_back({r / 3, 400 + 1200 * rng.uniform()});
    TaskGraph graph = random_graph(rng, 12, 900);
    if (std::ranges::any_of(graph.tasks(), [&](const Task& t) { return group_sizes(t, cluster).empty(); })) continue;
    const Problem problem = problem_of(graph, cluster);
    const Schedule first = search_schedule(problem, kEffort), second = search_schedule(problem, kEffort);
    expect_valid(graph, cluster, first);
    ASSERT_EQ(first.placed.size(), second.placed.size());
    for (std::size_t i = 0; i < first.placed.size(); ++i) {
      EXPECT_EQ(first.placed[i].id, second.placed[i].id);
      EXPECT_EQ(first.placed[i].ranks, second.placed[i].ranks);
    }
  }
}

TEST(FindGroup, StaysInsideANodeWhereItCanAndPaysForNotDoingSo) {
  Task task{"a", {}, 10, 4};
  task.speedup = {1, 2, 4}, task.speedup_across = {1, 1.2, 1.5};
  const Cluster cluster = even_cluster(2, 3, 0);
  Problem problem{cluster, {0, 1, 1, 0, 0, 9}, std::vector<int>(6, -1), {}};
  const OpenTask open{&task, 0, -1, {1, 2, 4}, 10, 0, 0, 0, {}};
  const auto two = find_group(problem, open, 2, 0);
  ASSERT_TRUE(two.has_value());
  EXPECT_EQ(two->ranks, (std::vector<int>{3, 4}));
  EXPECT_DOUBLE_EQ(two->end, 5);
  const auto four = find_group(problem, open, 4, 0);
  ASSERT_TRUE(four.has_value());
  EXPECT_TRUE(four->across_nodes);
  EXPECT_DOUBLE_EQ(four->end, 1 + 10 / 1.5);
  problem.free_at = {0, 2, 9, 0, 9, 9};
  EXPECT_EQ(find_group(problem, open, 2, 0)->ranks, (std::vector<int>{0, 1})) << "waiting two seconds for a neighbour is sooner";
}

TEST(PlaceByRule, GivesEveryReadyTaskOneRankBeforeAnyGetsMore) {
  TaskGraph graph;
  for (const auto& [id, cost] : {std::pair{"small", 1.0}, {"large", 9.0}, {"middle", 5.0}}) graph.add({id, {}, cost, 8});
  const Cluster cluster = even_cluster(1, 5, 0);
  Problem problem = problem_of(graph, cluster);
  problem.free_at[2] = 7;
  std::map<std::string, std::size_t> ranks;
  for (const Placed& p : place_by_rule(problem)) {
    ranks[graph.tasks()[p.id].id] = p.ranks.size();
    EXPECT_EQ(std::ranges::count(p.ranks, 2), 0) << "it is not free";
  }
  EXPECT_EQ(ranks, (std::map<std::string, std::size_t>{{"small", 1}, {"large", 2}, {"middle", 1}}));
}

TEST(PlaceByRule, NeverGoesBeyondMemoryNorUsesARankTwice) {
  Rng rng(5);
  for (int trial = 0; trial < 500; ++trial) {
    Cluster cluster;
    for (int r = 0; r < static_cast<int>(4 + rng.below(16)); ++r) cluster.push_back({r / 4, 500 + 1000 * rng.uniform()});
    TaskGraph graph;
    for (std::uint64_t i = 0, n = 1 + rng.below(9); i < n; ++i) {
      Task task{"t" + std::to_string(i), {}, 0.1 + rng.uniform(), 1 << rng.below(4)};
      task.memory_mib = 800 * rng.uniform(), task.sharded_mib = 800 * rng.uniform();
      if (!group_sizes(task, cluster).empty()) graph.add(task);
    }
    Problem problem = problem_of(graph, cluster);
    for (double& free_at : problem.free_at) free_at = rng.below(3) == 0 ? 5 : 0;
    std::set<int> used;
    for (const Placed& p : place_by_rule(problem)) {
      for (const int r : p.ranks) {
        EXPECT_TRUE(used.insert(r).second);
        EXPECT_LE(memory_mib(graph.tasks()[p.id], static_cast<int>(p.ranks.size())),
                  cluster[static_cast<std::size_t>(r)].memory_mib);
        EXPECT_EQ(problem.free_at[static_cast<std::size_t>(r)], 0);
      }
    }
  }
}

}  // namespace
}  // namespace dmoerm::plan
