// What a run is doing, put together from its events: every task, every rank, and how long it may still take. No I/O.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace dmoerm::watch {

/// Of a number that is not known. In JSON such numbers are absent.
inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

enum class TaskStatus : std::uint8_t {
  waiting,    ///< for its inputs
  ready,      ///< for a rank
  labelling,  ///< judges are asked
  running,
  paused,   ///< broke off to make room; goes on in this run
  retry,    ///< failed, and is tried again from its last checkpoint
  stopped,  ///< broke off; goes on in a later run
  done,
  failed,
  skipped,  ///< a task that it needs failed
};
inline constexpr std::array kStatuses = {TaskStatus::waiting, TaskStatus::ready,  TaskStatus::labelling, TaskStatus::running,
                                         TaskStatus::paused,  TaskStatus::retry,  TaskStatus::stopped,   TaskStatus::done,
                                         TaskStatus::failed,  TaskStatus::skipped};
const char* to_text(TaskStatus status);

/// Times are seconds since 1970 by the first rank's clock, as in the events.
struct TaskState {
  std::string id;
  double cost = 1;
  std::vector<std::string> inputs;
  bool elsewhere = false;  ///< done outside of the ranks: labelling
  TaskStatus status = TaskStatus::waiting;
  std::vector<int> ranks;  ///< that work on it now
  std::int64_t starts = 0;
  std::string message;  ///< why it failed

  std::int64_t step = -1, steps_max = -1, tokens = -1;
  double fraction = 0;  ///< 0..1 of its longest course: it may stop early
  double train_loss = kUnknown, validation_loss = kUnknown, validation_accuracy = kUnknown;
  double lr = kUnknown, gradient_norm = kUnknown;
  double tokens_per_s = kUnknown, flops_per_s = kUnknown;  ///< of its group
  double seconds = 0;                                      ///< spent on it, over restarts
  std::int64_t labelled = 0, label_total = 0;
  double label_cost = kUnknown;

  double started = kUnknown;                       ///< its last start
  double heard = kUnknown;                         ///< its last progress
  double fraction_before = 0;                      ///< when it started in this run
  double paced_at = kUnknown, paced_fraction = 0;  ///< where its present pace is measured from
  double rank_seconds = 0;                         ///< of this run, up to `counted`
  double counted = kUnknown;
};

struct RankState {
  int rank = 0;
  std::string host, doing;
  double heard = kUnknown;  ///< its last heartbeat
};

class RunState {
 public:
  /// Take an event in. Numbers of tasks that were done before are kept. What it does not know is passed over.
  void apply(const nlohmann::json& event);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Of the run's event; kUnknown before it.
  [[nodiscard]] double began() const { return began_; }
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] int exit_code() const { return exit_code_; }
  /// Tasks in an order that respects their inputs.
  [[nodiscard]] const std::vector<TaskState>& tasks() const { return tasks_; }
  [[nodiscard]] const std::vector<RankState>& ranks() const { return ranks_; }
  [[nodiscard]] std::array<std::int64_t, kStatuses.size()> counts() const;
  [[nodiscard]] std::int64_t count(TaskStatus status) const { return counts()[static_cast<std::size_t>(status)]; }

  /// Seconds since this start of the run, or that it took.
  [[nodiscard]] double elapsed(double now) const;
  /// Of all tasks' cost, 0..1.
  [[nodiscard]] double done_share() const;
  /// Seconds until a task that runs or is labelled ends, if it does not stop early; kUnknown if nothing tells.
  [[nodiscard]] double task_eta(const TaskState& task, double now) const;
  /// Seconds until the run ends: what is left at the pace so far, shared among the ranks, but at least the longest chain of tasks
  /// that wait for each other.
  [[nodiscard]] double run_eta(double now) const;
  /// Model FLOP/s of a running task over the peak of its ranks' devices; kUnknown if either is not known.
  [[nodiscard]] double mfu(const TaskState& task) const;
  /// Peak FLOP/s of one rank's device; 0 = not known.
  void set_peak(double flops_per_s) { peak_ = flops_per_s; }
  /// Seconds since a rank was heard; kUnknown if never. Never negative.
  [[nodiscard]] static double silence(const RankState& rank, double now);

  [[nodiscard]] nlohmann::json to_json() const;
  /// @throws DataError if it is not what to_json() gives
  static RunState from_json(const nlohmann::json& json);

 private:
  void begin(const nlohmann::json& event);
  void progress(TaskState& task, const nlohmann::json& event, double at);
  void end(TaskState& task, const nlohmann::json& event, double at);
  void count_time(TaskState& task, double at) const;
  void index();
  void make_ready(const TaskState& task);
  void skip_dependents(const TaskState& task);
  [[nodiscard]] double seconds_per_cost(double now) const;

  std::string name_;
  double began_ = kUnknown, ended_ = kUnknown, peak_ = 0;
  bool finished_ = false;
  int exit_code_ = 0;
  std::vector<TaskState> tasks_;
  std::vector<RankState> ranks_;
  std::map<std::string, std::size_t> by_id_;
  std::map<std::string, std::vector<std::size_t>> dependents_;
};

/// "chat" of "expert/chat/logic"; "" of "router".
std::string category_of(const std::string& task);

}  // namespace dmoerm::watch
