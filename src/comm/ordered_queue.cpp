#include "comm/ordered_queue.h"

#include "base/thread.h"

namespace dmoerm::comm {

OrderedQueue::~OrderedQueue() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::future<void> OrderedQueue::post(std::function<void()> job) {
  std::packaged_task<void()> task(std::move(job));
  std::future<void> done = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = start_thread("the thread of a group's collectives", [this] { work(); });
    jobs_.push_back(std::move(task));
  }
  changed_.notify_all();
  return done;
}

void OrderedQueue::run(const std::function<void()>& job) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs_.empty() && !busy_; });
  }
  job();
}

void OrderedQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::packaged_task<void()> task = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    task();
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace dmoerm::comm
