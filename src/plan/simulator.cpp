#include "plan/simulator.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "plan/dispatcher.h"
#include "plan/task_id.h"

namespace dmoerm::plan {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

class Simulator {
 public:
  Simulator(const TaskGraph& graph, const SimulationOptions& options)
      : graph_(graph), options_(options), done_(options.done), rng_(options.seed, "node failures") {
    TaskGraph actual;
    for (const Task& task : graph.tasks()) {
      const auto share = options.share.find(task.id);
      really_.push_back(task.cost * (share == options.share.end() ? 1.0 : share->second));
      if (task.external) done_.insert(task.id);
      Task shorter = task;
      shorter.cost = really_.back();
      if (done_.contains(task.id)) shorter.external = true;  // no work and no time
      if (!shorter.external) result_.work_s += shorter.cost;
      actual.add(shorter);
    }
    did_.resize(graph.tasks().size());
    result_.bound = lower_bound(actual, options.cluster);
    for (const Device& device : options.cluster) nodes_ = std::max(nodes_, device.node + 1);
  }

  Simulation run() {
    double failure = next_failure(0);
    while (!run_until(failure)) {
      result_.failures.push_back(now_);
      now_ += options_.restart_s, result_.down_s += options_.restart_s;
      failure = next_failure(now_);
    }
    result_.makespan = now_;
    return std::move(result_);
  }

 private:
  struct Running {
    std::size_t task = 0;
    std::vector<int> ranks;
    double start = 0, speed = 1, rate = 1;
    double began = 0;     ///< done before this interval
    double overhead = 0;  ///< seconds until it goes on
    bool to_pause = false;
  };

  double next_failure(double from) {
    if (options_.node_mtbf_s <= 0) return kNever;
    return from - std::log(1 - rng_.uniform()) * options_.node_mtbf_s / nodes_;
  }

  /// What is left of everything, as the coordinator of a restarted job reads it from the checkpoints.
  [[nodiscard]] TaskGraph remaining() const {
    TaskGraph graph;
    for (std::size_t i = 0; i < did_.size(); ++i) {
      Task task = graph_.tasks()[i];
      if (!done_.contains(task.id)) task.cost -= did_[i];
      graph.add(task);
    }
    return graph;
  }

  /// @return true if all is done, false if a node failed at that time
  bool run_until(double failure) {
    const TaskGraph left = remaining();
    DispatcherOptions how{options_.cluster, 0, options_.regroup, options_.pause_s, options_.checkpoint_mib_s, false};
    Dispatcher dispatcher(left, done_, how);
    holds_.assign(options_.cluster.size(), "");
    running_.clear();
    const double epoch = now_;
    for (std::size_t r = 0; r < options_.cluster.size(); ++r) start(dispatcher.on_idle(static_cast<int>(r)));
    while (!running_.empty()) {
      share_cores();
      const double next = next_event();
      if (now_ + next >= failure) {
        advance(failure - now_);
        lose();
        return false;
      }
      advance(next);
      dispatcher.on_time(now_ - epoch);
      const std::size_t due = due_;
      const Running ended = running_[due];
      running_[due] = std::move(running_.back());
      running_.pop_back();
      if (dispatcher.idle() > 0 || running_.size() <= kReportMax) report(dispatcher, epoch);
      const bool finished = did_[ended.task] >= really_[ended.task] * (1 - 1e-9);
      const std::string& id = graph_.tasks()[ended.task].id;
      record(ended, finished ? Outcome::done : Outcome::paused);
      if (finished) {
        done_.insert(id);
        start(dispatcher.on_done(id, true, ""));
      } else {
        paused_.insert(ended.task);
        ++result_.regroupings;
        dispatcher.on_progress(id, graph_.tasks()[ended.task].cost - did_[ended.task]);
        dispatcher.on_paused(id);
      }
      for (const int r : ended.ranks) start(dispatcher.on_idle(r));
      for (const std::string& named : dispatcher.to_regroup()) {
        for (Running& r : running_) r.to_pause = r.to_pause || graph_.tasks()[r.task].id == named;
      }
    }
    return true;
  }

  void start(const std::vector<Assignment>& assignments) {
    for (const Assignment& a : assignments) {
      Running running;
      running.task = graph_.index(a.task), running.ranks = a.ranks, running.start = now_;
      const Task& task = graph_.tasks()[running.task];
      const int node = options_.cluster[static_cast<std::size_t>(a.ranks.front())].node;
      bool across = false, loaded = true;
      for (const int r : a.ranks) {
        across = across || options_.cluster[static_cast<std::size_t>(r)].node != node;
        std::string& held = holds_[static_cast<std::size_t>(r)];
        loaded = loaded && held == task.base;
        held = task.base;
      }
      running.speed = speedup(task, static_cast<int>(a.ranks.size()), across);
      running.began = did_[running.task];
      running.overhead =
          (loaded ? 0 : task.load_cost) +
          (paused_.erase(running.task) > 0 ? options_.pause_s + checkpoint_seconds(task, options_.checkpoint_mib_s) : 0);
      running_.push_back(std::move(running));
    }
  }

  /// Ranks of a node beyond its cores slow all its working ranks down.
  void share_cores() {
    if (options_.ranks_at_speed <= 0) return;
    std::vector<int> working(static_cast<std::size_t>(nodes_));
    const auto node_of = [&](int r) { return static_cast<std::size_t>(options_.cluster[static_cast<std::size_t>(r)].node); };
    for (const Running& running : running_) {
      for (const int r : running.ranks) ++working[node_of(r)];
    }
    for (Running& running : running_) {
      running.rate = 1;
      for (const int r : running.ranks) running.rate = std::min(running.rate, options_.ranks_at_speed / working[node_of(r)]);
    }
  }

  /// Work after which a running task is at its next evaluation, if it is to pause there, or at its end.
  [[nodiscard]] double work_to_event(const Running& running) const {
    const double end = really_[running.task], did = did_[running.task];
    if (!running.to_pause) return end - did;
    const double step = options_.evaluation_share * graph_.tasks()[running.task].cost;
    return std::min(end, (std::floor(did / step * (1 + 1e-9)) + 1) * step) - did;
  }

  /// Seconds to the next event; due_ is whose.
  double next_event() {
    double next = kNever;
    for (std::size_t i = 0; i < running_.size(); ++i) {
      const Running& r = running_[i];
      const double seconds = r.overhead + work_to_event(r) / (r.speed * r.rate);
      if (seconds < next) next = seconds, due_ = i;
    }
    return next;
  }

  void advance(double seconds) {
    for (Running& r : running_) {
      const double waits = std::min(r.overhead, seconds);
      r.overhead -= waits;
      did_[r.task] = std::min(really_[r.task], did_[r.task] + (seconds - waits) * r.speed * r.rate);
    }
    now_ += seconds;
  }

  /// What the running tasks said at their last evaluation.
  void report(Dispatcher& dispatcher, double epoch) {
    for (const Running& r : running_) {
      const Task& task = graph_.tasks()[r.task];
      const double step = options_.evaluation_share * task.cost;
      const double evaluated = std::floor(did_[r.task] / step * (1 + 1e-9)) * step;
      const double ago = (did_[r.task] - evaluated) / (r.speed * r.rate);
      if (evaluated <= r.began || r.overhead > 0) continue;
      dispatcher.on_time(std::max(0.0, now_ - epoch - ago));
      dispatcher.on_progress(task.id, task.cost - evaluated);
      dispatcher.on_time(now_ - epoch);
    }
  }

  void record(const Running& r, Outcome outcome) {
    result_.intervals.push_back({r.task, r.ranks, r.start, now_, outcome});
    result_.busy_s += (now_ - r.start) * static_cast<double>(r.ranks.size());
  }

  /// Back to the last checkpoints.
  void lose() {
    for (const Running& r : running_) {
      const double since = options_.checkpoint_every_s > 0 ? std::fmod(now_ - r.start, options_.checkpoint_every_s) : 0;
      const double kept = std::max(r.began, did_[r.task] - since * r.speed * r.rate);
      result_.lost_s += std::min(since, now_ - r.start) * static_cast<double>(r.ranks.size());
      did_[r.task] = kept;
      record(r, Outcome::lost);
    }
    paused_.clear();
  }

  static constexpr std::size_t kReportMax = 64;  ///< If more tasks run, they report only while ranks are idle
  const TaskGraph& graph_;
  const SimulationOptions& options_;
  std::set<std::string> done_;
  Rng rng_;
  std::vector<double> really_, did_;  ///< cost that a task takes in all, and that is done
  std::vector<std::string> holds_;
  std::vector<Running> running_;
  std::set<std::size_t> paused_;
  Simulation result_;
  double now_ = 0;
  std::size_t due_ = 0;
  int nodes_ = 1;
};

}  // namespace

Simulation simulate(const TaskGraph& graph, const SimulationOptions& options) { return Simulator(graph, options).run(); }

std::map<std::string, double> draw_early_stops(const TaskGraph& graph, std::uint64_t seed, double least) {
  std::map<std::string, double> shares;
  for (const Task& task : graph.tasks()) {
    const auto id = TaskId::parse(task.id);
    if (!id || !trains(id->kind)) continue;
    const std::size_t models = std::max<std::size_t>(1, id->points.size());
    Rng rng(seed, "early stop/" + task.id);
    double sum = 0;
    for (std::size_t i = 0; i < models; ++i) sum += least + (1 - least) * rng.uniform();
    shares[task.id] = sum / static_cast<double>(models);
  }
  return shares;
}

}  // namespace dmoerm::plan
