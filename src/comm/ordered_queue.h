// A thread that carries out a group's collectives one after another while the caller computes: MPI moves large messages only
// while somebody calls it.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

namespace dmoerm::comm {

/// The thread starts with the first job that is posted. One caller.
class OrderedQueue {
 public:
  OrderedQueue() = default;
  OrderedQueue(const OrderedQueue&) = delete;
  OrderedQueue& operator=(const OrderedQueue&) = delete;
  /// Carries out what is posted, then ends.
  ~OrderedQueue();

  /// Carry out after everything posted before. The future receives what the job throws.
  std::future<void> post(std::function<void()> job);
  /// Carry out in the caller's thread, after everything posted before.
  void run(const std::function<void()>& job);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<void()>> jobs_;
  bool busy_ = false, closing_ = false;
  std::thread thread_;
};

}  // namespace dmoerm::comm
