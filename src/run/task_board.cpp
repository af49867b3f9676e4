#include "run/task_board.h"

#include <chrono>

namespace dmoerm::run {

void TaskBoard::add(const std::string& task) {
  const std::lock_guard lock(mutex_);
  done_.insert(task);
  changed_.notify_all();
}

void TaskBoard::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void TaskBoard::if_open(const std::function<void()>& call) {
  const std::lock_guard lock(mutex_);
  if (!closed_) call();
}

bool TaskBoard::ask(const Question& question) {
  const std::lock_guard lock(mutex_);
  return question(done_);
}

bool TaskBoard::wait_for(const Question& question, const std::function<bool()>& stop) {
  constexpr std::chrono::milliseconds kLookForStop{200};
  std::unique_lock lock(mutex_);
  while (!question(done_)) {
    if (closed_ || (stop && stop())) return false;
    changed_.wait_for(lock, kLookForStop);
  }
  return true;
}

}  // namespace dmoerm::run
