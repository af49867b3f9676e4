// The coordinator's state: which tasks run where, what starts next, and what a failure keeps from starting. No I/O, no clock.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "plan/cluster.h"
#include "plan/placement.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

struct Assignment {
  std::string task;
  std::vector<int> ranks;  ///< ascending; a power of two of them
  int tag = 0;             ///< Number of the assignment
};

/// Rate of checkpoints until one has been measured.
inline constexpr double kCheckpointMibS = 500;

/// Seconds of a pause beside its fixed cost: the checkpoint is written once and read once.
inline double checkpoint_seconds(const Task& task, double mib_s) { return mib_s > 0 ? 2 * task.checkpoint_mib / mib_s : 0; }

struct DispatcherOptions {
  Cluster cluster;        ///< If given, all its ranks are expected to report, and no task is placed beyond a device's memory
  int retries = 0;        ///< Number of times that a failed task is tried again
  bool regroup = true;    ///< Whether to_regroup() may name tasks
  double pause_cost = 2;  ///< Cost of breaking a task off and going on in another group, in the unit of the tasks' costs
  double checkpoint_mib_s =
      kCheckpointMibS;              ///< Rate at which checkpoints are written and read, which adds to the cost of a pause
  bool measure_checkpoints = true;  ///< Whether on_checkpoint() counts instead, once it was called
};

class Dispatcher {
 public:
  /// @param done  tasks that need not run
  /// @throws ConfigError naming the first task that no group of the cluster's ranks has the memory for
  Dispatcher(const TaskGraph& graph, const std::set<std::string>& done, DispatcherOptions options = {});

  /// Seconds since the start, never less than before. Without it the running tasks are believed to stand where they last
  /// reported.
  void on_time(double now_s) { now_ = now_s; }
  /// A rank has nothing to do. @return what starts now
  std::vector<Assignment> on_idle(int rank);
  /// A task ended; its ranks report idle on their own. @param message  why it failed
  std::vector<Assignment> on_done(const std::string& task, bool ok, const std::string& message);
  /// A task failed. @param may_retry  whether trying again can help
  /// @return true: it is ready again, and starts when its ranks are idle; false: it has failed, and what waits for it does not
  /// start
  bool on_failed(const std::string& task, const std::string& message, bool may_retry);
  /// A running task has so much left to do at most, in the unit of its cost.
  void on_progress(const std::string& task, double cost_left);
  /// A checkpoint was written at this rate, in MiB/s.
  void on_checkpoint(double mib_s);
  /// Cost of breaking a task off and going on.
  [[nodiscard]] double pause_cost(std::size_t task) const;
  /// Running tasks that should break off at their next evaluation, because they would end enough sooner in another group: ranks
  /// are idle and nothing is ready for them. Each is named once until it is paused or ended, or refuses to pause.
  std::vector<std::string> to_regroup();
  /// A running task cannot break off, so the ranks meant for it are free for others. It is not named again for a minute.
  void on_pause_refused(const std::string& task);
  /// A running task broke off with a checkpoint. It is ready again, with what it had left.
  void on_paused(const std::string& task);

  /// An external task is left for a later run: what waits for it does not start, everything else goes on.
  void on_left(const std::string& task);
  /// A running task broke off, to be continued by a later run.
  void on_stopped(const std::string& task);
  /// Start nothing more.
  void stop() { stopped_ = true; }
  [[nodiscard]] bool stopped() const { return stopped_; }

  /// Nothing runs and nothing can start.
  [[nodiscard]] bool finished() const;
  [[nodiscard]] const std::set<std::string>& done() const { return done_; }
  [[nodiscard]] const std::map<std::string, std::string>& failed() const { return failed_; }
  /// Tasks that a failed one keeps from starting.
  [[nodiscard]] std::set<std::string> skipped() const;
  /// Ranks that have nothing to do.
  [[nodiscard]] int idle() const { return idle_; }
  /// Tasks that could start.
  [[nodiscard]] std::size_t ready() const { return ready_.size(); }

 private:
  enum class State { waiting, ready, running, done, failed, left };
  enum class RankState { expected, idle, busy };
  struct Rank {
    RankState state = RankState::expected;
    std::size_t task = 0;  ///< Task that it is busy with
    int base = -1;         ///< Base of the last task it ran
  };
  struct Running {
    std::vector<int> ranks;
    double speed = 1;  ///< Cost done in a second
    double reported_at = 0;
    bool named = false;     ///< Whether to_regroup() named it
    int more = 0;           ///< Idle ranks meant for it once it breaks off
    double named_from = 0;  ///< Time before which it is not named
  };

  [[nodiscard]] double priority(std::size_t task) const { return cost_left_[task] + critical_path_[task]; }
  const std::vector<int>& sizes_of(std::size_t task) const;
  [[nodiscard]] bool may_be_named(std::size_t task, const Running& running) const;
  [[nodiscard]] double seconds_left(std::size_t task, const Running& running) const;
  void make_ready(std::size_t task);
  void end(std::size_t task, State state);
  [[nodiscard]] bool small() const;
  [[nodiscard]] Problem problem() const;
  [[nodiscard]] std::vector<OpenTask> open_tasks(std::optional<std::size_t> broken_off) const;
  [[nodiscard]] double value(std::optional<std::size_t> broken_off) const;
  std::vector<Assignment> assign();
  void start_what_would_wait(Problem& state);
  struct Regrouping {
    std::size_t task;
    int more;  ///< Ranks
  };
  [[nodiscard]] std::vector<Regrouping> growing() const;
  [[nodiscard]] std::vector<Regrouping> shrinking() const;

  const TaskGraph& graph_;
  DispatcherOptions options_;
  std::vector<int> base_;  ///< Base of each task, as a number
  std::vector<State> state_;
  std::vector<double> cost_left_, critical_path_;  ///< Cost of a task; of the longest chain of its dependents
  std::vector<int> inputs_left_, attempts_;
  std::vector<std::vector<std::size_t>> dependents_;
  std::set<std::pair<double, std::size_t>> ready_;  ///< Ready tasks by falling priority
  std::map<std::size_t, Running> running_;
  std::size_t external_ = 0;  ///< External tasks whose inputs are done and that are under way
  std::size_t open_ = 0;      ///< Tasks of the ranks that are waiting or ready
  std::vector<Rank> ranks_;
  int idle_ = 0, expected_ = 0;
  mutable std::vector<std::pair<std::size_t, std::vector<int>>>
      sizes_;                                   ///< Group sizes of each task, and the number of ranks they are for
  std::optional<std::vector<Placed>> planned_;  ///< Tasks that start as soon as their ranks are idle
  bool regroup_due_ = false;
  std::set<std::string> done_;
  std::map<std::string, std::string> failed_;
  double now_ = 0, measured_seconds_ = 0, measured_cost_ = 0;
  int tag_ = 0;
  bool stopped_ = false;
};

}  // namespace dmoerm::plan
