// A thread that carries out the collectives of a group one after another while the caller computes. It is needed because MPI
// moves large messages only while it is called.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

namespace dmoerm::comm {

/// A queue of jobs. Its thread starts with the first job that is posted. Only one thread may call.
class OrderedQueue {
 public:
  OrderedQueue() = default;
  OrderedQueue(const OrderedQueue&) = delete;
  OrderedQueue& operator=(const OrderedQueue&) = delete;
  /// Carries out all posted jobs, then ends the thread.
  ~OrderedQueue();

  /// Carry out a job in the thread, after all jobs posted before. The future receives what the job throws.
  std::future<void> post(std::function<void()> job);
  /// Carry out a job in the caller's thread, after all jobs posted before.
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
