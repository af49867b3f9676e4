// Connects a run with its screen, status page and files for watching.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "comm/heartbeat.h"
#include "config/run_config.h"
#include "label/labeller.h"
#include "run/run_directory.h"
#include "watch/watcher.h"

namespace dmoerm::run {

/// Lives on the first rank from the moment that the run directory is ready until the run's last event.
class RunWatch {
 public:
  /// @throws ConfigError if the status page's token is not set
  RunWatch(const config::RunConfig& config, const run::RunDirectory& directory, comm::Heartbeat& heartbeat);

  /// Whether log lines now go above a screen.
  [[nodiscard]] bool on_screen() const { return watcher_ && watcher_->on_screen(); }
  /// Pass on an event of the pipeline. After "finish", log lines go to stderr again.
  void hear(const nlohmann::json& event);
  /// Pass on the progress of labelling, every few seconds. Called by the labelling thread, which ends before "finish".
  /// @param tasks  the task of each of its points
  void label(const label::LabelProgress& progress, const std::vector<std::string>& tasks);

 private:
  std::shared_ptr<watch::Watcher> watcher_;
  std::chrono::steady_clock::time_point labelled_{};
};

}  // namespace dmoerm::run
