// The state of a run, derived from its events: every task, every rank, and the time that is left. This file does no I/O.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace dmoerm::watch {

/// The value of a number that is not known. JSON omits such numbers.
inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

enum class TaskStatus : std::uint8_t {
  waiting,    ///< its inputs are not done
  ready,      ///< it waits for a rank
  labelling,  ///< judges answer its questions
  running,
  paused,   ///< it was interrupted to make room and continues in this run
  retry,    ///< it failed and starts again from its last checkpoint
  stopped,  ///< it was interrupted and continues in a later run
  done,
  failed,
  skipped,  ///< a task that it needs failed
};
inline constexpr std::array kStatuses = {TaskStatus::waiting, TaskStatus::ready,  TaskStatus::labelling, TaskStatus::running,
                                         TaskStatus::paused,  TaskStatus::retry,  TaskStatus::stopped,   TaskStatus::done,
                                         TaskStatus::failed,  TaskStatus::skipped};
const char* to_text(TaskStatus status);

/// The state of one task. Times are seconds since 1970 by the clock of the first rank, as in the events.
struct TaskState {
  std::string id;
  double cost = 1;
  std::vector<std::string> inputs;
  bool external = false;  ///< whether the ranks do not do it (labelling)
  TaskStatus status = TaskStatus::waiting;
  std::vector<int> ranks;  ///< ranks that work on it now
  std::int64_t starts = 0;
  std::string message;  ///< reason why it failed

  std::int64_t step = -1, steps_max = -1, tokens = -1;
  double fraction = 0;  ///< share 0..1 of its largest number of steps that is done; it may stop early
  double train_loss = kUnknown, validation_loss = kUnknown, validation_accuracy = kUnknown;
  double lr = kUnknown, gradient_norm = kUnknown;
  double tokens_per_s = kUnknown, flops_per_s = kUnknown;  ///< rates of its whole group of ranks
  double seconds = 0;                                      ///< seconds spent on it, over all starts
  std::int64_t labelled = 0, label_total = 0;
  double label_cost = kUnknown;

  double started = kUnknown;                       ///< time of its last start
  double heard = kUnknown;                         ///< time of its last progress
  double fraction_before = 0;                      ///< fraction when it started in this run
  double paced_at = kUnknown, paced_fraction = 0;  ///< time and fraction from which its present pace is measured
  double rank_seconds = 0;                         ///< seconds of all its ranks in this run, up to the time `counted`
  double counted = kUnknown;
};

struct RankState {
  int rank = 0;
  std::string host, doing;
  double heard = kUnknown;  ///< time of its last heartbeat
};

class RunState {
 public:
  /// Apply an event. A new start of the run keeps the numbers of tasks that are done. Unknown events and fields are ignored.
  void apply(const nlohmann::json& event);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Time of the event that began the run; kUnknown before it.
  [[nodiscard]] double began() const { return began_; }
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] int exit_code() const { return exit_code_; }
  /// Whether the tasks are those that the run listed at its begin, and not only those that have left files.
  [[nodiscard]] bool lists_all_tasks() const { return !std::isnan(began_); }
  /// The tasks, each after its inputs.
  [[nodiscard]] const std::vector<TaskState>& tasks() const { return tasks_; }
  [[nodiscard]] const std::vector<RankState>& ranks() const { return ranks_; }
  [[nodiscard]] std::array<std::int64_t, kStatuses.size()> counts() const;
  [[nodiscard]] std::int64_t count(TaskStatus status) const { return counts()[static_cast<std::size_t>(status)]; }

  /// Seconds since this start of the run, or its duration if it has ended.
  [[nodiscard]] double elapsed(double now) const;
  /// Share 0..1 of the cost of all tasks that is done.
  [[nodiscard]] double done_share() const;
  /// Seconds until a running or labelling task ends, if it does not stop early; kUnknown if there is nothing to estimate from.
  [[nodiscard]] double task_eta(const TaskState& task, double now) const;
  /// Seconds until the run ends: the work left at the pace so far, divided among the ranks, but at least the longest chain of
  /// tasks that wait for each other.
  [[nodiscard]] double run_eta(double now) const;
  /// Model FLOP/s of a running task divided by the peak of its ranks' devices; kUnknown if either is not known.
  [[nodiscard]] double mfu(const TaskState& task) const;
  /// Set the peak FLOP/s of one rank's device; 0 = not known.
  void set_peak(double flops_per_s) { peak_ = flops_per_s; }
  /// Seconds since a rank was heard, never negative; kUnknown if it was never heard.
  [[nodiscard]] static double silence(const RankState& rank, double now);

  [[nodiscard]] nlohmann::json to_json() const;
  /// The state that to_json() wrote. @throws DataError if it is not such a state
  static RunState from_json(const nlohmann::json& json);

 private:
  void begin(const nlohmann::json& event);
  void progress(TaskState& task, const nlohmann::json& event, double at);
  void end(TaskState& task, const nlohmann::json& event, double at);
  void count_time(TaskState& task, double at) const;
  void index();
  /// A task that waits for nothing, or one that is done with those that wait for it, may start at this time.
  void make_ready(const TaskState& task, double at);
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

/// The category of a task's id: "chat" in "expert/chat/logic", "" in "router".
std::string category_of(const std::string& task);

}  // namespace dmoerm::watch
