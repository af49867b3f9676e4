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
                         const plan::DispatcherOptions& options, Observer observe)
    : world_(world), graph_(graph), dispatcher_(graph, done, options), observe_(std::move(observe)) {}

void Coordinator::run() {
  constexpr int kPatienceMs = 1000;
  while (!dispatcher_.finished() || static_cast<int>(idle_.size()) < world_.size()) {
    if (const auto message = world_.receive_control(true, kPatienceMs)) hear(json::parse(message->text));
  }
  const json summary{{"done", dispatcher_.done()},
                     {"failed", dispatcher_.failed()},
                     {"skipped", dispatcher_.skipped()},
                     {"code", exit_code_},
                     {"stopped", dispatcher_.stopped() || left_}};
  for (int rank = 0; rank < world_.size(); ++rank) send({rank}, {{"quit", summary}});
}

void Coordinator::hear(const json& message) {
  dispatcher_.on_time(std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  if (message.contains("idle")) {
    idle_.insert(message["idle"].get<int>());
    start(dispatcher_.on_idle(message["idle"]));
  } else if (message.contains("progress")) {
    json fields = message;
    fields["task"] = message["progress"];
    fields.erase("progress");
    const std::string task = fields["task"];
    dispatcher_.on_progress(task, (1 - fields.at("fraction").get<double>()) * graph_.at(task).cost);
    observe("progress", fields);
  } else if (message.contains("broken")) {
    const auto found = running_.find(message["broken"]);
    if (found == running_.end()) return;
    std::vector<int> others = found->second.ranks;
    std::erase(others, message["rank"].get<int>());
    send(others, {{"break", message["broken"]}});
  } else if (message.contains("left")) {
    dispatcher_.on_left(message["left"]);
    left_ = true;
  } else if (message.contains("stopping")) {
    stop(message["stopping"]);
  } else {
    on_ended(message);
  }
  for (const std::string& task : dispatcher_.to_regroup()) {
    for (const auto& [tag, running] : running_) {
      if (running.task == task) send(running.ranks, {{"pause", tag}});
    }
  }
}

void Coordinator::on_ended(const json& message) {
  const std::string task = message["ended"], text = message["message"];
  std::string outcome = message["outcome"];
  if (message.contains("tag")) running_.erase(message["tag"].get<int>());
  std::vector<plan::Assignment> next;
  if (outcome == "stopped") {
    dispatcher_.on_stopped(task);
    stop(message.value("signal", SIGTERM));
  } else if (outcome == "paused") {
    dispatcher_.on_paused(task);
  } else if (outcome == "done") {
    next = dispatcher_.on_done(task, true, "");
  } else {
    const bool again = dispatcher_.on_failed(task, text, message["may_pass"]);
    if (again) outcome = "retry";
    if (!again) exit_code_ = std::max(exit_code_, message["code"].get<int>());
    spdlog::error("[run] task={} failed{}: {}", task, again ? " and is tried again from its last checkpoint" : "", text);
  }
  observe("end", {{"task", task}, {"outcome", outcome}, {"message", text}});
  start(next);
}

void Coordinator::start(const std::vector<plan::Assignment>& assignments) {
  for (const plan::Assignment& a : assignments) {
    for (const int rank : a.ranks) idle_.erase(rank);
    running_[a.tag] = {a.task, a.ranks};
    observe("start", {{"task", a.task}, {"ranks", a.ranks}});
    send(a.ranks, {{"run", a.task}, {"ranks", a.ranks}, {"tag", a.tag}});
  }
}

void Coordinator::stop(int signal) {
  if (stopping_) return;
  stopping_ = true;
  dispatcher_.stop();
  for (int rank = 0; rank < world_.size(); ++rank) send({rank}, {{"stop", signal > 0 ? signal : SIGTERM}});
}

void Coordinator::send(const std::vector<int>& ranks, const json& message) {
  for (const int rank : ranks) world_.send_control(rank, false, message.dump());
}

void Coordinator::observe(const std::string& name, const json& fields) {
  if (observe_) observe_(event(name, fields));
}

}  // namespace dmoerm::run
