#include "comm/deadline.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"
#include "base/host.h"
#include "base/thread.h"

namespace dmoerm::comm {

using Clock = std::chrono::steady_clock;

Deadline::Deadline() {
  thread_ = start_thread("the thread that limits the start", [this] { watch(); });
}

Deadline::~Deadline() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Deadline::begin(double limit_s, const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    limit_s_ = limit_s;
    what_ = what;
    running_ = true;
    until_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit_s));
  }
  changed_.notify_all();
}

void Deadline::end() {
  const std::lock_guard lock(mutex_);
  running_ = false;
}

void Deadline::watch() {
  std::unique_lock lock(mutex_);
  while (!leaving_) {
    if (!running_) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, until_) == std::cv_status::timeout && running_ && Clock::now() >= until_) {
      const std::string said =
          fmt::format("{} within {:g} s: a rank was stopped or cut off, or its host is gone. Process {} on {} ends the job",
                      what_, limit_s_, ::getpid(), host_name());
      fmt::print(stderr, "dmoerm: {}\n", with_code(said, "ranks-missing"));
      std::_Exit(1);
    }
  }
}

}  // namespace dmoerm::comm
