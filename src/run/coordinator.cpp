#include "run/coordinator.h"

#include <algorithm>
#include <chrono>
#include <csignal>

#include "base/log.h"
#include "base/stop.h"

namespace dmoerm::run {

using nlohmann::json;

json event(const std::string& name, json fields) {
  fields["event"] = name;
  fields["at"] = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return fields;
}

Coordinator::Coordinator(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done,
                         const plan::DispatcherOptions& options, Observer observe, TaskBoard& board)
    : world_(world), graph_(graph), dispatcher_(graph, done, options), observe_(std::move(observe)), board_(board) {}

void Coordinator::run() {
  constexpr int kPatienceMs = 1000;
  while (!dispatcher_.finished() || static_cast<int>(idle_.size()) < world_.size()) {
    if (const auto message = world_.receive_control(true, kPatienceMs)) hear(decode_to_coordinator(message->text));
  }
  board_.close();
  while (const auto message = world_.receive_control(true, 0))
    hear(decode_to_coordinator(message->text));  // what was sent before
  send_all(QuitOrder{{.done = dispatcher_.done(),
                      .failed = dispatcher_.failed(),
                      .skipped = dispatcher_.skipped(),
                      .exit_code = exit_code_,
                      .stopped = dispatcher_.stopped() || left_}});
}

void Coordinator::hear(const ToCoordinator& message) {
  dispatcher_.on_time(std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  std::visit([this](const auto& one) { on(one); }, message);
  for (const std::string& task : dispatcher_.to_regroup()) {
    for (const auto& [tag, running] : running_) {
      if (running.task == task) send(running.ranks, PauseOrder{tag});
    }
  }
}

void Coordinator::on(const Idle& message) {
  idle_.insert(message.rank);
  start(dispatcher_.on_idle(message.rank));
}

void Coordinator::on(const Progress& message) {
  dispatcher_.on_progress(message.task, (1 - message.fields.at("fraction").get<double>()) * graph_.at(message.task).cost);
  if (const auto rate = message.fields.find("checkpoint_mib_per_s"); rate != message.fields.end())
    dispatcher_.on_checkpoint(rate->get<double>());
  json fields = message.fields;
  fields["task"] = message.task;
  observe("progress", fields);
}

void Coordinator::on(const Broken& message) {
  const auto found = running_.find(message.tag);
  if (found == running_.end()) return;
  std::vector<int> others = found->second.ranks;
  std::erase(others, message.rank);
  send(others, BreakOrder{message.tag});
}

void Coordinator::on(const PauseRefused& message) { dispatcher_.on_pause_refused(message.task); }

void Coordinator::on(const Left& message) {
  dispatcher_.on_left(message.task);
  left_ = true;
}

void Coordinator::on(const Stopping& message) { stop(message.signal); }

void Coordinator::on(const Ended& message) {
  running_.erase(message.tag);
  std::vector<plan::Assignment> next;
  if (message.outcome == TaskOutcome::stopped) {
    dispatcher_.on_stopped(message.task);
    stop(message.signal);
  } else if (message.outcome == TaskOutcome::paused) {
    dispatcher_.on_paused(message.task);
  } else if (message.outcome == TaskOutcome::done) {
    next = dispatcher_.on_done(message.task, true, "");
    board_.add(message.task);
  } else {
    return on_failed(message);
  }
  observe("end", {{"task", message.task}, {"outcome", to_string(message.outcome)}, {"message", message.message}});
  start(next);
}

void Coordinator::on_failed(const Ended& message) {
  const bool again = dispatcher_.on_failed(message.task, message.message, message.may_pass);
  if (!again) exit_code_ = std::max(exit_code_, message.exit_code);
  spdlog::error("[run] task={} failed{}: {}", message.task, again ? " and is tried again from its last checkpoint" : "",
                message.message);
  observe("end", {{"task", message.task}, {"outcome", again ? "retry" : "failed"}, {"message", message.message}});
}

void Coordinator::start(const std::vector<plan::Assignment>& assignments) {
  for (const plan::Assignment& a : assignments) {
    for (const int rank : a.ranks) idle_.erase(rank);
    running_[a.tag] = {a.task, a.ranks};
    observe("start", {{"task", a.task}, {"ranks", a.ranks}});
    send(a.ranks, RunOrder{a.task, a.ranks, a.tag});
  }
}

void Coordinator::stop(int signal) {
  if (stopping_) return;
  stopping_ = true;
  dispatcher_.stop();
  send_all(StopOrder{signal > 0 ? signal : SIGTERM});
}

void Coordinator::send(const std::vector<int>& ranks, const ToRank& message) {
  const std::string text = encode(message);
  for (const int rank : ranks) world_.send_control(rank, false, text);
}

void Coordinator::send_all(const ToRank& message) {
  const std::string text = encode(message);
  for (int rank = 0; rank < world_.size(); ++rank) world_.send_control(rank, false, text);
}

void Coordinator::observe(const std::string& name, const json& fields) {
  if (observe_) observe_(event(name, fields));
}

}  // namespace dmoerm::run
