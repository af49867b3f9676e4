// What `dmoerm run` tells those who watch it.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "comm/heartbeat.h"
#include "config/run_config.h"
#include "label/labeller.h"
#include "run/run_directory.h"
#include "watch/watcher.h"

namespace dmoerm::run {

/// On the first rank: begins with the run directory in order, ends with the exit code. Its functions are thread safe.
class RunWatch {
 public:
  /// @throws ConfigError if the status page's token is not set
  RunWatch(const config::RunConfig& config, const run::RunDirectory& directory, comm::Heartbeat& heartbeat);

  /// Whether log lines go above a screen now.
  [[nodiscard]] bool on_screen() const { return watcher_ && watcher_->on_screen(); }
  /// An event of the pipeline. That it has finished well is kept back: the bundle is still to be made.
  void hear(const nlohmann::json& event);
  /// How far labelling is; passed on every few seconds.
  void label(const label::LabelProgress& progress);
  /// The run ends with this code: shown a last time; from then on log lines go to stderr again.
  void finish(int exit_code);

 private:
  std::shared_ptr<watch::Watcher> watcher_;
  bool finished_ = false;
  std::chrono::steady_clock::time_point labelled_{};
};

}  // namespace dmoerm::run
