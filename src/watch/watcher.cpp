#include "watch/watcher.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "base/error.h"
#include "base/log.h"
#include "base/log_route.h"
#include "base/thread.h"
#include "watch/json_fields.h"
#include "watch/screen_text.h"

namespace dmoerm::watch {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
constexpr std::size_t kQueueMax = 4096;  // above this heartbeats and progress are dropped, because later ones replace them
constexpr double kShareMax = 0.05;       // largest share of a core that the watcher uses

bool on_terminal(config::ScreenMode screen) {
  return screen == config::ScreenMode::on || (screen == config::ScreenMode::automatic && stderr_is_terminal());
}

}  // namespace

Watcher::Watcher(const config::WatchConfig& config, std::filesystem::path run_directory, double peak_flops_per_s)
    : config_(config), run_directory_(std::move(run_directory)), timeline_(run_directory_ / "timeline.jsonl") {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  try {
    if (auto before = read_status(run_directory_)) status_ = std::move(*before);  // this keeps the numbers of finished tasks
  } catch (const Error& e) {
    spdlog::warn("[watch] the old status is ignored: {}", e.what());
  }
  status_.state.set_peak(peak_flops_per_s);
  status_.every_s = config_.every_s;
  status_.writes = 0;
  status_.place = this_place();
  status_.process = this_process();
  if (config_.port >= 0) page_ = std::make_unique<StatusPage>(config_);
  status_.page = page_ ? page_->address() : "";
  if (on_terminal(config_.screen)) {
    screen_ = std::make_unique<Screen>(STDERR_FILENO);
    route_log([this](std::string_view line) { screen_->log(line); });
  }
  thread_ = start_thread("the thread that shows progress", [this] { work(); });
}

Watcher::~Watcher() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  came_.notify_one();
  thread_.join();
  if (screen_) route_log({});
}

void Watcher::operator()(const json& event) {
  {
    const std::lock_guard lock(mutex_);
    if (events_.size() >= kQueueMax) {
      if (const std::string what = text_field(event, "event"); what == "rank" || what == "progress") return;
    }
    events_.push_back(event);
  }
  came_.notify_one();
}

void Watcher::work() {
  double pause_s = 0;
  auto looked = Clock::now();
  for (bool ending = false; !ending;) {
    std::deque<json> events;
    {
      std::unique_lock lock(mutex_);
      const auto due = looked + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(pause_s));
      came_.wait_until(lock, due, [&] { return ending_ || !events_.empty(); });
      events.swap(events_);
      ending = ending_;
    }
    for (const json& event : events) {
      if (text_field(event, "event") != "rank") timeline_.append(event);
      status_.state.apply(event);
    }
    const auto begin = Clock::now();
    if (!ending && std::chrono::duration<double>(begin - looked).count() < pause_s) continue;
    look();
    looked = Clock::now();
    pause_s = std::max(config_.every_s, std::chrono::duration<double>(looked - begin).count() / kShareMax);
  }
}

void Watcher::look() {
  if (status_.state.tasks().empty()) return;  // the run has not begun
  const double now = wall_clock();
  status_.written_at = now;
  ++status_.writes;
  try {
    write_status(run_directory_, status_);
    warned_ = false;
  } catch (const std::exception& e) {
    if (!warned_) spdlog::warn("[watch] status.json cannot be written, the run continues: {}", e.what());
    warned_ = true;
  }
  if (page_) page_->publish(status_.state, now);
  if (!screen_) return;
  const TerminalSize size = screen_->size();
  const View view{.width = std::max(1, size.columns - 1), .height = std::max(4, size.lines - 4), .now = now, .colour = true};
  screen_->show(screen_text(status_.state, view));
}

}  // namespace dmoerm::watch
