// The first rank's coordinator, which hands tasks to ranks and receives their progress.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "comm/world.h"
#include "plan/dispatcher.h"
#include "run/control_message.h"
#include "run/task_board.h"

namespace dmoerm::run {

/// Receives the events of a run (docs/formats.md). The coordinator's thread calls it, so it must return soon.
using Observer = std::function<void(const nlohmann::json& event)>;

/// An event with its name and the current time.
nlohmann::json event(const std::string& name, nlohmann::json fields);

class Coordinator {
 public:
  /// @param observe  may be empty
  /// @param board    gets every task that is done, and is closed at the end
  Coordinator(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done,
              const plan::DispatcherOptions& options, Observer observe, TaskBoard& board);
  /// Returns when no task runs, none can start, and all ranks have received the order to quit.
  void run();

 private:
  struct Running {
    std::string task;
    std::vector<int> ranks;
  };
  void on(const Idle& message);
  void on(const Progress& message);
  void on(const Broken& message);
  void on(const PauseRefused& message);
  void on(const Left& message);
  void on(const Stopping& message);
  void on(const Ended& message);
  void on_failed(const Ended& message);
  void hear(const ToCoordinator& message);
  void start(const std::vector<plan::Assignment>& assignments);
  void stop(int signal);
  void send(const std::vector<int>& ranks, const ToRank& message);
  void send_all(const ToRank& message);
  void observe(const std::string& name, const nlohmann::json& fields);

  comm::World& world_;
  const plan::TaskGraph& graph_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  plan::Dispatcher dispatcher_;
  Observer observe_;
  TaskBoard& board_;
  std::map<int, Running> running_;  ///< Running tasks by tag
  std::set<int> idle_;
  int exit_code_ = 0;
  bool left_ = false, stopping_ = false;
};

}  // namespace dmoerm::run
