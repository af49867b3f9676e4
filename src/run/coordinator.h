// The first rank's coordinator: hands tasks to ranks and hears from them how they go.
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

namespace dmoerm::run {

/// Hears of everything that happens in a run: the events of docs/formats.md. Called from the coordinator's thread, which it must
/// not hold up.
using Observer = std::function<void(const nlohmann::json& event)>;

/// An event with its name and the time now.
nlohmann::json event(const std::string& name, nlohmann::json fields);

/// Messages it hears: {"idle": rank}, {"progress": task, ...}, {"broken": tag, "rank"}, {"left": task},
/// {"stopping": signal}, {"ended": task, "tag", "outcome": done|failed|paused|stopped, "code", "message", "may_pass"}.
/// Messages it sends: {"run": task, "ranks", "tag"}, {"pause": tag}, {"break": tag}, {"stop": signal}, {"quit": summary}.
class Coordinator {
 public:
  /// @param observe  may be empty
  Coordinator(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done,
              const plan::DispatcherOptions& options, Observer observe);
  /// Until nothing runs and nothing can start, and all ranks are told so.
  void run();

 private:
  struct Running {
    std::string task;
    std::vector<int> ranks;
  };
  void hear(const nlohmann::json& message);
  void on_ended(const nlohmann::json& message);
  void start(const std::vector<plan::Assignment>& assignments);
  void stop(int signal);
  void send(const std::vector<int>& ranks, const nlohmann::json& message);
  void observe(const std::string& name, const nlohmann::json& fields);

  comm::World& world_;
  const plan::TaskGraph& graph_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  plan::Dispatcher dispatcher_;
  Observer observe_;
  std::map<int, Running> running_;  ///< by tag
  std::set<int> idle_;
  int exit_code_ = 0;
  bool left_ = false, stopping_ = false;
};

}  // namespace dmoerm::run
