#include "plan/schedule_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"

namespace dmoerm::plan {
namespace {

/// A schedule in short: which task is placed first of those that can be, and on how many ranks each.
struct Sketch {
  std::vector<double> priority;
  std::vector<std::size_t> size;  ///< Position in the task's group sizes
};

class Search {
 public:
  Search(const Problem& problem, std::int64_t tries) : problem_(problem), tries_(tries), n_(problem.open.size()) {
    for (const OpenTask& open : problem.open) {
      DMOERM_CHECK(!open.sizes.empty(), "a task to place fits somewhere: " + open.task->id);
      std::vector<double> seconds;
      for (const int size : open.sizes) seconds.push_back(open.cost / best_speedup(*open.task, problem.cluster, size));
      seconds_.push_back(std::move(seconds));
    }
  }

  Schedule run() {
    try_rules();
    improve();
    return best_;
  }

 private:
  [[nodiscard]] double seconds(std::size_t task, std::size_t size) const { return seconds_[task][size]; }

  /// List scheduling: of the tasks whose inputs are placed the one of highest priority takes the ranks that end it soonest.
  /// @param order  the tasks in the order they were placed in
  [[nodiscard]] Schedule draw(const Sketch& sketch, std::vector<std::size_t>& order) const {
    Problem state{problem_.cluster, problem_.free_at, problem_.holds, {}};
    std::vector<int> inputs(n_);
    std::vector<double> ready_at(n_);
    std::vector<std::size_t> can;
    for (std::size_t i = 0; i < n_; ++i) {
      inputs[i] = problem_.open[i].inputs, ready_at[i] = problem_.open[i].ready_at;
      if (inputs[i] == 0) can.push_back(i);
    }
    Schedule schedule;
    while (!can.empty()) {
      const auto next = std::ranges::max_element(can, {}, [&](std::size_t i) { return sketch.priority[i]; });
      const std::size_t i = *next;
      *next = can.back();
      can.pop_back();
      order.push_back(i);
      const OpenTask& open = problem_.open[i];
      auto placed = find_group(state, open, open.sizes[sketch.size[i]], ready_at[i]);
      DMOERM_CHECK(placed.has_value(), "ranks for " + open.task->id + " become free");
      for (const int r : placed->ranks) {
        state.free_at[static_cast<std::size_t>(r)] = placed->end;
        state.holds[static_cast<std::size_t>(r)] = open.base;
      }
      for (const int dependent : open.dependents) {
        const auto w = static_cast<std::size_t>(dependent);
        ready_at[w] = std::max(ready_at[w], placed->end);
        if (--inputs[w] == 0) can.push_back(w);
      }
      schedule.makespan = std::max(schedule.makespan, placed->end);
      schedule.mean_end += placed->end / static_cast<double>(n_);
      schedule.placed.push_back(std::move(*placed));
    }
    return schedule;
  }

  /// @param tolerance  how much worse than the current sketch a schedule may be and still replace it
  void attempt(const Sketch& sketch, double tolerance) {
    --tries_;
    std::vector<std::size_t> order;
    Schedule schedule = draw(sketch, order);
    const double objective = schedule.objective();
    if (objective <= (1 + tolerance) * current_) {
      current_ = objective, current_sketch_ = sketch;
      for (std::size_t k = 0; k < n_; ++k) current_sketch_.priority[order[k]] = static_cast<double>(n_ - k);  // all differ
    }
    if (best_.placed.empty() || objective < best_.objective()) best_ = std::move(schedule);
  }

  /// Length of the longest chain from each task on, by the times that the sizes give.
  [[nodiscard]] std::vector<double> chains(const std::vector<std::size_t>& size) const {
    std::vector<double> chain(n_);
    for (std::size_t i = n_; i-- > 0;) {
      for (const int w : problem_.open[i].dependents) chain[i] = std::max(chain[i], chain[static_cast<std::size_t>(w)]);
      chain[i] += seconds(i, size[i]);
    }
    return chain;
  }

  /// Each task on the smallest group that ends it within a deadline, for a range of deadlines; long chains or long tasks first.
  void try_rules() {
    std::vector<std::size_t> largest;
    double work = 0;
    for (std::size_t i = 0; i < n_; ++i) largest.push_back(seconds_[i].size() - 1), work += problem_.open[i].cost;
    const std::vector<double> shortest = chains(largest);
    const double bound =
        std::max(work / static_cast<double>(problem_.cluster.size()), *std::max_element(shortest.begin(), shortest.end()));
    for (const double free_at : problem_.free_at) work += std::isinf(free_at) ? 0 : free_at;
    bound_ = work / static_cast<double>(problem_.cluster.size());
    for (std::size_t i = 0; i < n_; ++i) bound_ = std::max(bound_, problem_.open[i].ready_at + shortest[i]);
    for (const double share : {1e9, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.0}) {
      Sketch sketch;
      for (std::size_t i = 0; i < n_; ++i) {
        std::size_t size = 0;
        while (size + 1 < seconds_[i].size() && seconds(i, size) > share * bound) ++size;
        sketch.size.push_back(size);
      }
      sketch.priority = chains(sketch.size);
      attempt(sketch, 0);
      for (std::size_t i = 0; i < n_; ++i) sketch.priority[i] = seconds(i, sketch.size[i]);
      attempt(sketch, 0);
      if (tries_ <= 0) return;
    }
  }

  /// Random small changes. At first they may make it somewhat worse, to get out of dead ends.
  void improve() {
    constexpr double kNearEnough = 1.002, kTolerance = 0.15;
    Rng rng(n_ * 1000003 + problem_.cluster.size());
    for (const auto all = static_cast<double>(tries_); tries_ > 0 && best_.makespan > kNearEnough * bound_;) {
      Sketch sketch = current_sketch_;
      for (std::uint64_t changes = 1 + rng.below(3); changes-- > 0;) {
        const auto i = static_cast<std::size_t>(rng.below(n_)), j = static_cast<std::size_t>(rng.below(n_));
        if (rng.below(2) == 0) {
          sketch.size[i] = static_cast<std::size_t>(rng.below(seconds_[i].size()));
        } else {
          std::swap(sketch.priority[i], sketch.priority[j]);
        }
      }
      attempt(sketch, kTolerance * std::max(0.0, static_cast<double>(tries_) / all - 0.2));
    }
  }

  const Problem& problem_;
  std::int64_t tries_;
  double bound_ = 0;
  std::size_t n_;
  std::vector<std::vector<double>> seconds_;  ///< Seconds of each task by group size
  Schedule best_;
  Sketch current_sketch_;  ///< Sketch that changes start from
  double current_ = std::numeric_limits<double>::infinity();
};

constexpr double kTriesMin = 16, kTriesMax = 2000;

/// Tries that the effort pays for.
double tries(std::size_t open, std::size_t ranks, double effort) {
  const auto n = static_cast<double>(std::max<std::size_t>(1, open));
  return effort / (n * (20 + n + 16 * static_cast<double>(ranks)));
}

}  // namespace

bool searchable(std::size_t open, std::size_t ranks, double effort) { return tries(open, ranks, effort) >= kTriesMin; }

Schedule search_schedule(const Problem& problem, double effort) {
  if (problem.open.empty()) return {};
  const double count = std::clamp(tries(problem.open.size(), problem.free_at.size(), effort), kTriesMin, kTriesMax);
  return Search(problem, static_cast<std::int64_t>(count)).run();
}

}  // namespace dmoerm::plan
