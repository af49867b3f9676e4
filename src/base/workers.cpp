#include "base/workers.h"

#include <sched.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

namespace dmoerm {

int processors() {
  cpu_set_t own;
  if (::sched_getaffinity(0, sizeof own, &own) == 0) return std::max(1, CPU_COUNT(&own));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Workers::Workers(int threads) {
  try {
    for (int i = 0; i < threads; ++i) threads_.push_back(start_thread("a thread that reads data", [this] { run(); }));
  } catch (const Error& e) {
    spdlog::debug("[threads] {} of {}: {}", threads_.size(), threads, e.what());
  }
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::post(std::function<void()> work) {
  if (threads_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void Workers::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    work();
  }
}

}  // namespace dmoerm
