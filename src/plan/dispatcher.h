// The coordinator's state: which tasks run where, what can start next, what a failure keeps from starting. No I/O.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/placement.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

struct Assignment {
  std::string task;
  std::vector<int> ranks;
  int tag = 0;  ///< different for every assignment
};

class Dispatcher {
 public:
  /// @param done  tasks that need not run
  /// @param retries  how often a task that failed is tried again
  Dispatcher(const TaskGraph& graph, const std::set<std::string>& done, int retries = 0);

  /// A rank has nothing to do. @return what starts now
  std::vector<Assignment> on_idle(int rank);
  /// A task ended; its ranks report idle on their own. @param message  why it failed
  std::vector<Assignment> on_done(const std::string& task, bool ok, const std::string& message);

  /// A task failed. @return true: it is ready again
  bool on_failed(const std::string& task, const std::string& message, bool may_retry);

  /// A task that is done elsewhere is not done in this run: what waits for it does not start, all else goes on.
  void on_left(const std::string& task) { running_.erase(task); }
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

 private:
  [[nodiscard]] std::vector<ReadyTask> ready() const;
  std::vector<Assignment> assign();
  const TaskGraph& graph_;
  std::map<std::string, double> chain_;
  std::set<std::string> done_, running_;
  std::map<std::string, std::string> failed_;
  std::vector<int> idle_;
  std::map<std::string, int> tries_left_;
  int retries_, tag_ = 0;
  bool stopped_ = false;
};

}  // namespace dmoerm::plan
