// Every rank tells the first one once a second that it lives and what it does, and hears back. A rank that falls silent (stopped,
// cut off, its host gone) ends the job with a message that names it; mpirun and srun see only processes that die.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "comm/world.h"

namespace dmoerm::comm {

class Heartbeat {
 public:
  /// Starts a thread; on every rank at about the same time.
  /// @param limit_s  a rank silent for so long ends the job, > 0
  Heartbeat(World& world, double limit_s);
  /// Says goodbye and waits until all have, so that a rank that falls silent on its way out is noticed too. On every rank.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  /// What this rank does from now on, as the message would name it. Thread safe.
  void doing(const std::string& what);
  /// On the first rank: called from the thread for each sign of life. Thread safe.
  void listen(std::function<void(int rank, const std::string& host, const std::string& doing)> on_beat);

 private:
  void watch();
  World& world_;
  double limit_s_;
  std::mutex mutex_;
  std::string doing_ = "starting";
  std::function<void(int, const std::string&, const std::string&)> on_beat_;
  bool leaving_ = false;  ///< this rank has nothing more to do
  std::thread thread_;
};

}  // namespace dmoerm::comm
