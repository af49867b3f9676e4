#include "plan/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <queue>
#include <set>

#include "base/counted.h"
#include "base/error.h"

namespace dmoerm::plan {
namespace {

bool fits(const Task& task, int size, const Device& device) {
  return device.memory_mib <= 0 || memory_mib(task, size) <= device.memory_mib;
}

struct Candidate {
  double free_at;
  bool holds;
  int rank;
};

double duration(const OpenTask& open, int size, bool across, bool loaded) {
  return open.cost / speedup(*open.task, size, across) + (loaded ? 0 : open.task->load_cost);
}

}  // namespace

double best_speedup(const Task& task, const Cluster& cluster, int ranks) {
  std::vector<int> of_node;
  for (const Device& device : cluster) {
    if (static_cast<int>(of_node.size()) <= device.node) of_node.resize(static_cast<std::size_t>(device.node) + 1);
    if (++of_node[static_cast<std::size_t>(device.node)] >= ranks) return speedup(task, ranks);
  }
  return speedup(task, ranks, true);
}

std::vector<int> group_sizes(const Task& task, const Cluster& cluster) {
  constexpr double kFaster = 1.01;
  std::vector<int> sizes;
  double fastest = 0;
  for (int size = 1; size <= task.ranks_max && size <= static_cast<int>(cluster.size()); size *= 2) {
    int fitting = 0;
    for (std::size_t r = 0; r < cluster.size() && fitting < size; ++r) fitting += fits(task, size, cluster[r]) ? 1 : 0;
    if (fitting < size) continue;
    const double speed = best_speedup(task, cluster, size);
    if (speed <= kFaster * fastest) continue;
    sizes.push_back(size), fastest = speed;
  }
  return sizes;
}

void check_fits(const Task& task, const Cluster& cluster) {
  if (!group_sizes(task, cluster).empty()) return;
  const double largest = std::ranges::max_element(cluster, {}, &Device::memory_mib)->memory_mib;
  const int size =
      static_cast<int>(std::bit_floor(static_cast<unsigned>(std::min(task.ranks_max, static_cast<int>(cluster.size())))));
  throw ConfigError(
      "task-exceeds-memory",
      fmt::format("task {} needs {} on {}, its largest group here; the largest device has {}. Use "
                  "more ranks{}, fewer compute.micro_batch_tokens, gradient_checkpointing, a smaller backbone or larger devices; "
                  "cluster.memory_gib "
                  "overrides what was measured",
                  task.id, mib_text(memory_mib(task, size)), size == 1 ? "one rank" : fmt::format("each of {} ranks", size),
                  mib_text(largest), task.sharded_mib > 0 ? "" : " with base.shard"));
}

std::optional<Placed> find_group(const Problem& problem, const OpenTask& open, int size, double ready_at) {
  std::vector<Candidate> candidates;
  for (std::size_t r = 0; r < problem.free_at.size(); ++r) {
    if (std::isinf(problem.free_at[r]) || !fits(*open.task, size, problem.cluster[r])) continue;
    const bool holds = open.base >= 0 && problem.holds[r] == open.base;
    candidates.push_back({std::max(problem.free_at[r], ready_at), holds, static_cast<int>(r)});
  }
  if (static_cast<int>(candidates.size()) < size) return std::nullopt;
  std::ranges::sort(candidates, [](const Candidate& a, const Candidate& b) {
    return a.free_at != b.free_at ? a.free_at < b.free_at : a.holds != b.holds ? a.holds : a.rank < b.rank;
  });
  const auto node_of = [&](const Candidate& c) { return problem.cluster[static_cast<std::size_t>(c.rank)].node; };
  const double any_start = candidates[static_cast<std::size_t>(size) - 1].free_at;
  double node_start = std::numeric_limits<double>::infinity();
  std::vector<int> free_of_node;
  const auto count = [](std::vector<int>& of_node, int node) -> int& {
    if (static_cast<int>(of_node.size()) <= node) of_node.resize(static_cast<std::size_t>(node) + 1);
    return of_node[static_cast<std::size_t>(node)];
  };
  for (const Candidate& c : candidates) {
    if (c.free_at > node_start) break;
    if (++count(free_of_node, node_of(c)) == size && std::isinf(node_start)) node_start = c.free_at;
  }
  const bool inside = node_start + duration(open, size, false, true) <= any_start + duration(open, size, true, true);
  const double start = inside ? node_start : any_start;
  std::erase_if(candidates, [&](const Candidate& c) { return c.free_at > start; });
  if (inside) {  // in the node with the fewest ranks to spare, so that large holes stay large; one that holds the base first
    std::vector<int> holders(free_of_node.size());
    for (const Candidate& c : candidates) holders[static_cast<std::size_t>(node_of(c))] += c.holds ? 1 : 0;
    int best = -1;
    const auto better = [&](std::size_t a, std::size_t b) {
      const int held_a = std::min(holders[a], size), held_b = std::min(holders[b], size);
      return held_a != held_b ? held_a > held_b : free_of_node[a] < free_of_node[b];
    };
    for (std::size_t node = 0; node < free_of_node.size(); ++node) {
      if (free_of_node[node] >= size && (best < 0 || better(node, static_cast<std::size_t>(best)))) best = static_cast<int>(node);
    }
    std::erase_if(candidates, [&](const Candidate& c) { return node_of(c) != best; });
  }
  std::ranges::stable_sort(candidates, [](const Candidate& a, const Candidate& b) {  // the latest to become free waits least
    return a.holds != b.holds ? a.holds : a.free_at > b.free_at;
  });
  candidates.resize(static_cast<std::size_t>(size));
  Placed placed{open.id, {}, start, 0, !inside};
  for (const Candidate& c : candidates) placed.ranks.push_back(c.rank);
  std::ranges::sort(placed.ranks);
  const bool loaded = open.base < 0 || std::ranges::all_of(candidates, &Candidate::holds);
  const int first_node = node_of(candidates.front());
  placed.across_nodes = std::ranges::any_of(candidates, [&](const Candidate& c) { return node_of(c) != first_node; });
  placed.end = start + duration(open, size, placed.across_nodes, loaded);
  return placed;
}

std::vector<Placed> place_by_rule(const Problem& problem) {
  constexpr double kAboutEqual = 0.95;  // of the priority: then the task whose base a free rank holds goes first
  struct Wish {
    const OpenTask* open;
    std::size_t size = 0;
  };
  Problem free{problem.cluster, problem.free_at, problem.holds, {}};
  auto left = 0;
  std::set<int> held;
  for (std::size_t r = 0; r < free.free_at.size(); ++r) {
    if (free.free_at[r] > 0) {
      free.free_at[r] = std::numeric_limits<double>::infinity();
    } else {
      ++left, held.insert(free.holds[r]);
    }
  }
  std::vector<const OpenTask*> order;
  for (const OpenTask& open : problem.open) {
    if (open.inputs == 0 && open.ready_at <= 0) order.push_back(&open);
  }
  std::ranges::stable_sort(
      order, [](const OpenTask* a, const OpenTask* b) { return a->cost + a->critical_path > b->cost + b->critical_path; });
  for (std::size_t i = 0; i < order.size() && static_cast<int>(i) < left; ++i) {
    const double least = kAboutEqual * (order[i]->cost + order[i]->critical_path);
    for (std::size_t j = i; j < order.size() && order[j]->cost + order[j]->critical_path >= least; ++j) {
      if (order[j]->base < 0 || !held.contains(order[j]->base)) continue;
      std::rotate(order.begin() + static_cast<std::ptrdiff_t>(i), order.begin() + static_cast<std::ptrdiff_t>(j),
                  order.begin() + static_cast<std::ptrdiff_t>(j) + 1);
      break;
    }
  }
  std::vector<Wish> wishes;
  for (const OpenTask* open : order) {
    if (left == 0) break;
    if (open->sizes.front() > left) continue;
    left -= open->sizes.front();
    wishes.push_back({open});
  }
  const auto seconds = [&](const Wish& wish) {
    return (wish.open->cost + wish.open->critical_path) /
           best_speedup(*wish.open->task, problem.cluster, wish.open->sizes[wish.size]);
  };
  const auto sooner = [&](std::size_t a, std::size_t b) { return seconds(wishes[a]) < seconds(wishes[b]); };
  std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(sooner)> growing(sooner);
  for (std::size_t i = 0; i < wishes.size(); ++i) growing.push(i);
  while (left > 0 && !growing.empty()) {
    Wish& wish = wishes[growing.top()];
    const std::size_t at = growing.top();
    growing.pop();
    if (wish.size + 1 >= wish.open->sizes.size()) continue;
    const int more = wish.open->sizes[wish.size + 1] - wish.open->sizes[wish.size];
    if (more > left) continue;
    left -= more, ++wish.size;
    growing.push(at);
  }
  std::vector<Placed> placed;
  for (const Wish& wish : wishes) {
    std::optional<Placed> group;  // a device too small for the task may be among those counted: then a smaller group
    for (std::size_t size = wish.size + 1; !group && size-- > 0;) group = find_group(free, *wish.open, wish.open->sizes[size], 0);
    if (!group) continue;
    for (const int r : group->ranks) free.free_at[static_cast<std::size_t>(r)] = std::numeric_limits<double>::infinity();
    placed.push_back(std::move(*group));
  }
  return placed;
}

Bound lower_bound(const TaskGraph& graph, const Cluster& cluster) {
  Bound bound;
  const std::size_t none = graph.tasks().size();
  std::vector<double> end(none);
  std::vector<std::size_t> before(none, none);
  std::size_t last = none;
  for (std::size_t i = 0; i < none; ++i) {
    const Task& task = graph.tasks()[i];
    for (const std::size_t input : graph.inputs(i)) {
      if (end[input] > end[i]) end[i] = end[input], before[i] = input;
    }
    if (task.external) continue;
    bound.work += task.cost / static_cast<double>(cluster.size());
    const std::vector<int> sizes = group_sizes(task, cluster);
    end[i] += task.cost / (sizes.empty() ? 1 : best_speedup(task, cluster, sizes.back()));
    if (end[i] > bound.chain) bound.chain = end[i], last = i;
  }
  for (std::size_t i = last; i != none; i = before[i]) bound.chain_tasks.insert(bound.chain_tasks.begin(), i);
  return bound;
}

}  // namespace dmoerm::plan
