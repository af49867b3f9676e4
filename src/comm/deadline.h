// A time limit for the start and the end of MPI. All ranks wait for each other there without a heartbeat, so that a rank that was
// stopped or cut off would block the job for ever.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace dmoerm::comm {

/// A thread that ends this process if a step takes too long. The launcher then ends the other ranks.
class Deadline {
 public:
  Deadline();
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  /// Begin a step that may take `limit_s` seconds. @param what  beginning of the message if it takes longer
  void begin(double limit_s, const std::string& what);
  /// The step is over.
  void end();

 private:
  void watch();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string what_;
  double limit_s_ = 0;
  std::chrono::steady_clock::time_point until_;
  bool running_ = false, leaving_ = false;
  std::thread thread_;
};

}  // namespace dmoerm::comm
