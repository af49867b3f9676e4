#include "serve/workers.h"

#include <utility>

#include "base/thread.h"

namespace dmoerm::serve {

Workers::Workers(int threads, const char* what) {
  for (int t = 0; t < threads; ++t) threads_.push_back(start_thread(what, [this] { loop(); }));
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  more_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  more_.notify_one();
}

void Workers::post_first(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    first_.push_back(std::move(job));
  }
  more_.notify_one();
}

void Workers::loop() {
  for (;;) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [this] { return ends_ || !jobs_.empty() || !first_.empty(); });
    std::deque<std::function<void()>>& next = first_.empty() ? jobs_ : first_;
    if (next.empty()) return;
    const std::function<void()> job = std::move(next.front());
    next.pop_front();
    lock.unlock();
    job();
  }
}

}  // namespace dmoerm::serve
