// Where all ranks wait for each other without a heartbeat, at MPI's start and end, a rank that was stopped or cut off would keep
// the job for ever.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace dmoerm::comm {

/// A thread that ends this process if what was begun is not over in time; the launcher then ends the other ranks.
class Deadline {
 public:
  Deadline();
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  /// From now on there are `limit_s` seconds. @param what  did not come about, for the message
  void begin(double limit_s, const std::string& what);
  /// It is over.
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
