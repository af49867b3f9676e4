#include "train/dispatch_loop.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "plan/dispatcher.h"

namespace dmoerm::train {
namespace {

using nlohmann::json;
constexpr int kPatienceMs = 1000;

constexpr double kLeaveTogetherS = 30;  // ranks that fail together leave a task within a step of each other

/// The coordinator: hears {"idle": rank}, {"ended": task, "code": exit code or 0, "message": m} and {"left": task}; answers
/// {"run": task, "ranks": [...], "tag": n} and at the end {"quit": summary}.
void coordinate(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done) {
  plan::Dispatcher dispatcher(graph, done);
  const auto start = [&](const std::vector<plan::Assignment>& assignments) {
    for (const plan::Assignment& a : assignments) {
      for (const int rank : a.ranks)
        world.send_control(rank, false, json{{"run", a.task}, {"ranks", a.ranks}, {"tag", a.tag}}.dump());
    }
  };
  std::set<int> idle;
  int exit_code = 0;
  bool left = false;
  while (!dispatcher.finished() || static_cast<int>(idle.size()) < world.size()) {
    const auto message = world.receive_control(true, kPatienceMs);
    if (stop_requested()) dispatcher.stop();
    if (!message) continue;
    const json event = json::parse(message->text);
    std::vector<plan::Assignment> assignments;
    if (event.contains("idle")) {
      idle.insert(event["idle"].get<int>());
      assignments = dispatcher.on_idle(event["idle"]);
    } else if (event.contains("left")) {
      dispatcher.on_left(event["left"]);
      left = true;
    } else if (const int code = event["code"]; code == Stopped("").exit_code()) {
      dispatcher.on_stopped(event["ended"]);
    } else {
      exit_code = std::max(exit_code, code);
      assignments = dispatcher.on_done(event["ended"], code == 0, event["message"]);
    }
    for (const plan::Assignment& a : assignments) {
      for (const int rank : a.ranks) idle.erase(rank);
    }
    start(assignments);
  }
  const json summary{{"done", dispatcher.done()},
                     {"failed", dispatcher.failed()},
                     {"skipped", dispatcher.skipped()},
                     {"code", exit_code},
                     {"stopped", dispatcher.stopped() || left}};
  for (int rank = 0; rank < world.size(); ++rank) world.send_control(rank, false, json{{"quit", summary}}.dump());
}

/// Run one task in its group; all ranks agree on the outcome before the first reports it.
void work_on(comm::World& world, const json& order,
             const std::function<void(const std::string&, comm::Communicator&)>& run_task) {
  const std::string task = order.at("run");
  const auto ranks = order.at("ranks").get<std::vector<int>>();
  const int tag = order.at("tag");
  const auto group = world.make_group(ranks, 2 * tag);
  const auto outcome = world.make_group(ranks, 2 * tag + 1);  // apart from what the others of the group may still be waiting in
  json end{{"code", 0}, {"message", ""}};
  const auto failed = [&](const std::exception& e) {
    const Failure failure = failure_of(e);
    end = {{"code", failure.exit_code}, {"message", failure.message}};
    outcome->limit_waits(kLeaveTogetherS);
  };
  try {
    run_task(task, *group);
  } catch (const CommError&) {
    throw;  // the group itself is broken
  } catch (const Error& e) {
    failed(e);
  } catch (const std::filesystem::filesystem_error& e) {
    failed(e);
  }
  const std::string own = end.dump(-1, ' ', false, json::error_handler_t::replace);
  std::vector<std::vector<std::byte>> all;
  try {
    all = outcome->all_gather(std::as_bytes(std::span<const char>(own)));
  } catch (const CommError&) {
    if (end["code"] == 0) throw;
    throw CommError(fmt::format("task {} failed on this rank alone, and the rest of its group cannot go on without it: {}", task,
                                end["message"].get<std::string>()));
  }
  for (const auto& bytes : all) {
    const json other = json::parse(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    if (end["code"] == 0 && other["code"] != 0) end = other;
  }
  end["ended"] = task;
  if (group->rank() == 0) world.send_control(0, true, end.dump(-1, ' ', false, json::error_handler_t::replace));
}

/// Let `elsewhere` do its tasks, and see to it that the coordinator hears of each of them.
void work_elsewhere(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done,
                    const Elsewhere& elsewhere) {
  std::set<std::string> open;
  for (const plan::Task& task : graph.tasks()) {
    if (task.elsewhere && !done.contains(task.id)) open.insert(task.id);
  }
  if (open.empty()) return;
  const auto tell = [&](const json& event) {
    world.send_control(0, true, event.dump(-1, ' ', false, json::error_handler_t::replace));
  };
  try {
    elsewhere([&](const std::string& task) {
      if (open.erase(task) > 0) tell({{"ended", task}, {"code", 0}, {"message", ""}});
    });
    for (const std::string& task : open) tell({{"left", task}});
  } catch (const std::exception& e) {
    for (const std::string& task : open) tell({{"ended", task}, {"code", failure_of(e).exit_code}, {"message", e.what()}});
  }
}

RunSummary work(comm::World& world, const std::function<void(const std::string&, comm::Communicator&)>& run_task) {
  for (;;) {
    world.send_control(0, true, json{{"idle", world.rank()}}.dump());
    std::optional<comm::ControlMessage> message;
    while (!message) message = world.receive_control(false, kPatienceMs);
    const json order = json::parse(message->text);
    if (order.contains("quit")) {
      const json& s = order["quit"];
      return {s.at("done").get<std::set<std::string>>(), s.at("failed").get<std::map<std::string, std::string>>(),
              s.at("skipped").get<std::set<std::string>>(), s.at("code"), s.at("stopped")};
    }
    work_on(world, order, run_task);
  }
}

}  // namespace

RunSummary run_tasks(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done,
                     const Elsewhere& elsewhere,
                     const std::function<void(const std::string& task, comm::Communicator& group)>& run_task) {
  const auto end_all = [&](const char* who, const std::exception& e) {
    spdlog::error("[run] {} of rank {} on {}: {}", who, world.rank(), world.host(), e.what());
    world.abort(1);
  };
  std::thread coordinator, apart;
  if (world.rank() == 0) {
    coordinator = std::thread([&] {
      try {
        coordinate(world, graph, done);
      } catch (const std::exception& e) {
        end_all("the coordinator", e);
      }
    });
  }
  if (world.rank() == 0 && elsewhere) {
    apart = std::thread([&] {
      try {
        work_elsewhere(world, graph, done, elsewhere);
      } catch (const std::exception& e) {
        end_all("labelling", e);
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
  if (apart.joinable()) apart.join();
  return summary;
}

}  // namespace dmoerm::train
