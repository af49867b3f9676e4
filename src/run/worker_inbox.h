// A rank's end of the control channel: a thread that receives the coordinator's orders while the rank is busy with a task.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <variant>

#include "comm/world.h"
#include "run/control_message.h"

namespace dmoerm::run {

class WorkerInbox {
 public:
  explicit WorkerInbox(comm::World& world);
  ~WorkerInbox();
  WorkerInbox(const WorkerInbox&) = delete;
  WorkerInbox& operator=(const WorkerInbox&) = delete;

  /// Waits for the order to do a task or to quit.
  std::variant<RunOrder, QuitOrder> next_order();
  /// Sets the task that runs now, by the tag of its order.
  void begin(int tag);
  /// Whether the coordinator wants the running task to pause after the current step.
  [[nodiscard]] bool pause_asked() const { return pause_; }
  /// Forget that the running task shall pause: it cannot.
  void refuse_pause();
  /// Whether another of the running task's ranks has failed.
  [[nodiscard]] const std::atomic<bool>& broken() const { return broken_; }
  void tell(const ToCoordinator& message);

 private:
  void listen();
  void on(const RunOrder& order);
  void on(const PauseOrder& order);
  void on(const BreakOrder& order);
  void on(const StopOrder& order);
  void on(const QuitOrder& order);

  comm::World& world_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::variant<RunOrder, QuitOrder>> orders_;
  int tag_ = 0;                          ///< Tag of the running task
  int paused_tag_ = 0, broken_tag_ = 0;  ///< Tags of the last requests, which may arrive before begin()
  std::atomic<bool> pause_{false}, broken_{false}, leaving_{false};
  std::thread thread_;
};

}  // namespace dmoerm::run
