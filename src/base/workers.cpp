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

Workers::Workers(int threads, const char* what, int least) {
  try {
    for (int t = 0; t < threads; ++t) threads_.push_back(start_thread(what, [this] { loop(); }));
  } catch (const Error& e) {
    if (std::ssize(threads_) < least) {
      end();
      throw;
    }
    spdlog::debug("[threads] {} of {}: {}", threads_.size(), threads, e.what());
  }
}

Workers::~Workers() { end(); }

void Workers::end() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  more_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::post(std::function<void()> job) { add(jobs_, std::move(job)); }
void Workers::post_first(std::function<void()> job) { add(first_, std::move(job)); }

void Workers::add(Jobs& jobs, std::function<void()> job) {
  if (threads_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    jobs.push_back(std::move(job));
  }
  more_.notify_one();
}

void Workers::loop() {
  for (;;) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [this] { return ends_ || !jobs_.empty() || !first_.empty(); });
    Jobs& next = first_.empty() ? jobs_ : first_;
    if (next.empty()) return;
    const std::function<void()> job = std::move(next.front());
    next.pop_front();
    lock.unlock();
    job();
  }
}

}  // namespace dmoerm
