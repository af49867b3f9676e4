#include "train/dispatch_loop.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "plan/dispatcher.h"

namespace dmoerm::train {
namespace {

using nlohmann::json;
constexpr int kPatienceMs = 1000;

json summary_json(const plan::Dispatcher& dispatcher) { return {{"done", dispatcher.done()}, {"failed", dispatcher.failed()}, {"skipped", dispatcher.skipped()}}; }

/// The coordinator: hears {"idle": rank} and {"done": task, "ok": b, "message": m}; answers {"run": task, "ranks": [...], "tag": n} and at the end {"quit": summary}.
void coordinate(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done) {
  plan::Dispatcher dispatcher(graph, done);
  const auto start = [&](const std::vector<plan::Assignment>& assignments) {
    for (const plan::Assignment& a : assignments) {
      for (const int rank : a.ranks) world.send_control(rank, false, json{{"run", a.task}, {"ranks", a.ranks}, {"tag", a.tag}}.dump());
    }
  };
  std::set<int> idle;
  while (!dispatcher.finished() || static_cast<int>(idle.size()) < world.size()) {
    const auto message = world.receive_control(true, kPatienceMs);
    if (!message) continue;
    const json event = json::parse(message->text);
    std::vector<plan::Assignment> assignments;
    if (event.contains("idle")) {
      idle.insert(event["idle"].get<int>());
      assignments = dispatcher.on_idle(event["idle"]);
    } else {
      assignments = dispatcher.on_done(event["done"], event["ok"], event["message"]);
    }
    for (const plan::Assignment& a : assignments) {
      for (const int rank : a.ranks) idle.erase(rank);
    }
    start(assignments);
  }
  for (int rank = 0; rank < world.size(); ++rank) world.send_control(rank, false, json{{"quit", summary_json(dispatcher)}}.dump());
}

/// Run one task in its group; all ranks agree on the outcome before the first reports it.
void work_on(comm::World& world, const json& order, const std::function<void(const std::string&, comm::Communicator&)>& run_task) {
  const std::string task = order.at("run");
  const auto group = world.make_group(order.at("ranks").get<std::vector<int>>(), order.at("tag"));
  std::string failure;
  try {
    run_task(task, *group);
  } catch (const CommError&) {
    throw;  // the group itself is broken
  } catch (const Error& e) {
    failure = e.what();
  }
  std::string message;
  for (const auto& bytes : group->all_gather(std::as_bytes(std::span<const char>(failure)))) {
    if (message.empty()) message.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  if (group->rank() == 0) world.send_control(0, true, json{{"done", task}, {"ok", message.empty()}, {"message", message}}.dump());
}

RunSummary work(comm::World& world, const std::function<void(const std::string&, comm::Communicator&)>& run_task) {
  for (;;) {
    world.send_control(0, true, json{{"idle", world.rank()}}.dump());
    std::optional<comm::ControlMessage> message;
    while (!message) message = world.receive_control(false, kPatienceMs);
    const json order = json::parse(message->text);
    if (order.contains("quit")) {
      const json& s = order["quit"];
      return {s.at("done").get<std::set<std::string>>(), s.at("failed").get<std::map<std::string, std::string>>(), s.at("skipped").get<std::set<std::string>>()};
    }
    work_on(world, order, run_task);
  }
}

}  // namespace

RunSummary run_tasks(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done,
                     const std::function<void(const std::string& task, comm::Communicator& group)>& run_task) {
  const auto end_all = [&](const char* who, const std::exception& e) {
    spdlog::error("[run] {} of rank {} on {}: {}", who, world.rank(), world.host(), e.what());
    world.abort(1);
  };
  std::thread coordinator;
  if (world.rank() == 0) {
    coordinator = std::thread([&] {
      try {
        coordinate(world, graph, done);
      } catch (const std::exception& e) {
        end_all("the coordinator", e);
      }
    });
  }
  RunSummary summary;
  try {
    summary = work(world, run_task);
  } catch (const std::exception& e) {
    end_all("a task", e);
  }
  if (coordinator.joinable()) coordinator.join();
  return summary;
}

}  // namespace dmoerm::train
