#include "run/run_watch.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "run/coordinator.h"
#include "run/device_peak.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;
constexpr double kLabelS = 5;

}  // namespace

RunWatch::RunWatch(const config::RunConfig& config, const run::RunDirectory& directory, comm::Heartbeat& heartbeat)
    : watcher_(std::make_shared<watch::Watcher>(config.watch, directory.root(), device_peak(config.compute))) {
  heartbeat.listen([watcher = std::weak_ptr(watcher_)](int rank, const std::string& host, const std::string& doing) {
    if (const auto there = watcher.lock()) (*there)(event("rank", {{"rank", rank}, {"host", host}, {"doing", doing}}));
  });
}

void RunWatch::hear(const json& event) {
  (*watcher_)(event);
  if (event.at("event") == "finish") watcher_.reset();
}

void RunWatch::label(const label::LabelProgress& progress, const std::vector<std::string>& tasks) {
  if (!watcher_) return;
  const auto now = std::chrono::steady_clock::now();
  if (std::chrono::duration<double>(now - labelled_).count() < kLabelS) return;
  labelled_ = now;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const label::PointProgress& point = progress.points[i];
    if (point.answered == 0 && point.outstanding == 0) continue;  // nothing has changed
    (*watcher_)(
        event("label", {{"task", tasks[i]}, {"labelled", point.known + point.answered + point.skipped}, {"total", point.total}}));
  }
}

}  // namespace dmoerm::run
