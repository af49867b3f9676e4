// What the coordinator tells the thread of external tasks: which tasks are done.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>

namespace dmoerm::run {

/// For several threads.
class TaskBoard {
 public:
  explicit TaskBoard(std::set<std::string> done) : done_(std::move(done)) {}

  /// A task is done.
  void add(const std::string& task);
  /// No further task will be done in this run: the coordinator hears nobody any more.
  void close();
  /// Call a function unless the board is closed; it is not closed before that returns.
  void if_open(const std::function<void()>& call);

  /// Returns whether it is true of the tasks that are done.
  using Question = std::function<bool(const std::set<std::string>& done)>;
  [[nodiscard]] bool ask(const Question& question);
  /// Wait until the answer is yes. @return false if that cannot be any more, because the board is closed or `stop` returned true
  [[nodiscard]] bool wait_for(const Question& question, const std::function<bool()>& stop);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> done_;
  bool closed_ = false;
};

}  // namespace dmoerm::run
