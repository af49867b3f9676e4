// The watcher of a run, on its first rank: it receives events and maintains timeline.jsonl, status.json, the screen and the
// status page.
#pragma once
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "config/cluster_config.h"
#include "watch/run_state.h"
#include "watch/screen.h"
#include "watch/status_file.h"
#include "watch/status_page.h"
#include "watch/timeline.h"

namespace dmoerm::watch {

/// A thread of its own does everything that may take time or fail. Nothing here ends or delays the run: what cannot be written or
/// served causes a warning. From its construction on the process ignores SIGPIPE and SIGHUP, so that a run does not end when a
/// reader or the terminal goes away.
class Watcher {
 public:
  /// @param peak_flops_per_s  peak of one rank's device; 0 = not known
  /// @throws ConfigError if the token's environment variable is not set
  Watcher(const config::WatchConfig& config, std::filesystem::path run_directory, double peak_flops_per_s);
  /// Handles the events that have arrived, then writes and shows the state a last time.
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  [[nodiscard]] bool on_screen() const { return screen_ != nullptr; }
  /// Receive an event. Thread safe. It never waits for a disk, a terminal or a reader.
  void operator()(const nlohmann::json& event);

 private:
  void work();
  void look();
  const config::WatchConfig config_;
  const std::filesystem::path run_directory_;
  Timeline timeline_;
  Status status_;
  std::unique_ptr<Screen> screen_;
  std::unique_ptr<StatusPage> page_;
  bool warned_ = false;

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<nlohmann::json> events_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace dmoerm::watch
