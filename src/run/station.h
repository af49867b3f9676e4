// A rank's end of the control channel: a thread that hears the coordinator while the rank is busy with a task.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "comm/world.h"

namespace dmoerm::run {

class Station {
 public:
  explicit Station(comm::World& world);
  ~Station();
  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;

  /// The next order, {"run"...} or {"quit"...}; waits for it.
  nlohmann::json next_order();
  /// The task that runs now, by the tag of its order.
  void begin(int tag);
  /// The coordinator asks the running task to break off at a step's edge.
  [[nodiscard]] bool pause_asked() const { return pause_; }
  /// Another rank of the running task's group has failed.
  [[nodiscard]] const std::atomic<bool>& broken() const { return broken_; }
  void tell(const nlohmann::json& event);

 private:
  void listen();
  comm::World& world_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<nlohmann::json> orders_;
  int tag_ = 0, paused_tag_ = 0, broken_tag_ = 0;  ///< of the running task; of the last requests, which may come before begin()
  std::atomic<bool> pause_{false}, broken_{false}, leaving_{false};
  std::thread thread_;
};

}  // namespace dmoerm::run
