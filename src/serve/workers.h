// Some threads that do short jobs in the order in which they come.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dmoerm::serve {

class Workers {
 public:
  /// @throws Error if a thread cannot be started
  Workers(int threads, const char* what);
  /// Does the jobs that are left.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  /// Have a job done. It must not throw.
  void post(std::function<void()> job);
  /// The same, before all jobs that were given to post().
  void post_first(std::function<void()> job);

 private:
  void loop();
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::function<void()>> jobs_, first_;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace dmoerm::serve
