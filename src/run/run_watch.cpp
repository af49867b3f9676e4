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
    if (const auto there = watcher.lock()) (*there)(run::event("rank", {{"rank", rank}, {"host", host}, {"doing", doing}}));
  });
}

void RunWatch::hear(const json& event) {
  if (event.at("event") != "finish") {
    (*watcher_)(event);
  } else if (const int code = event.at("code"); code != 0) {
    finish(code);
  }
}

void RunWatch::label(const label::LabelProgress& progress) {
  const auto now = std::chrono::steady_clock::now();
  if (std::chrono::duration<double>(now - labelled_).count() < kLabelS) return;
  labelled_ = now;
  for (const label::PointProgress& point : progress.points) {
    if (point.answered == 0 && point.outstanding == 0) continue;  // nothing new to say
    (*watcher_)(run::event("label", {{"task", "label/" + point.target.category + "/" + point.target.point},
                                     {"labelled", point.known + point.answered + point.skipped},
                                     {"total", point.total}}));
  }
}

void RunWatch::finish(int exit_code) {
  if (finished_) return;
  finished_ = true;
  (*watcher_)(run::event("finish", {{"code", exit_code}}));
  watcher_.reset();
}

}  // namespace dmoerm::run
