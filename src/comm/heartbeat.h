// Every rank tells the first rank once a second that it is alive and what it does, and the first rank tells the others. If a rank
// falls silent (stopped, cut off, its host gone), the job ends with a message that names it; mpirun and srun notice only
// processes that die.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "comm/world.h"

namespace dmoerm::comm {

class Heartbeat {
 public:
  /// Starts a thread. All ranks must do so at about the same time.
  /// @param limit_s  seconds of silence after which a rank counts as lost, > 0
  Heartbeat(World& world, double limit_s);
  /// Says goodbye and waits until all ranks have done so. In this way a rank that falls silent at the end is noticed too.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  /// Set what this rank does, for the message that would report it lost. Thread safe.
  void doing(const std::string& what);
  /// Set a function that the thread of the first rank calls for each sign of life. Thread safe.
  void listen(std::function<void(int rank, const std::string& host, const std::string& doing)> on_beat);

 private:
  void watch_or_end();
  void watch();
  World& world_;
  double limit_s_;
  std::mutex mutex_;
  std::string doing_ = "starting";
  std::function<void(int, const std::string&, const std::string&)> on_beat_;
  bool leaving_ = false;  ///< whether this rank has finished
  std::thread thread_;
};

}  // namespace dmoerm::comm
