#include "run/dispatch_loop.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "run/station.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

/// Whether the coordinator says that another rank has failed. A transport may notice that before its message is here.
bool told_soon(const Station& station) {
  for (int i = 0; i < 50 && !station.broken(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return station.broken();
}

/// Run one task in its group; all ranks agree on the outcome before the first reports it.
void work_on(comm::World& world, Station& station, const json& order, const RunHooks& hooks) {
  const std::string task = order.at("run");
  const auto ranks = order.at("ranks").get<std::vector<int>>();
  const int tag = order.at("tag");
  station.begin(tag);
  const auto group = world.make_group(ranks, 2 * tag);
  const auto outcome = world.make_group(ranks, 2 * tag + 1);  // apart from what others of the group may be waiting in
  group->break_when(station.broken());
  train::TaskLine line;
  line.pause_asked = [&] { return station.pause_asked(); };
  line.doing = [&](const std::string& what) {
    if (hooks.doing) hooks.doing("task " + task + ", " + what);
  };
  line.report = [&](const json& progress) {
    json message = progress;
    message["progress"] = task, message["ranks"] = ranks.size();
    if (group->rank() == 0) station.tell(message);
  };
  line.doing("starting");
  json end{{"outcome", "done"}, {"code", 0}, {"message", ""}, {"may_pass", true}};
  try {
    hooks.run_task(task, *group, line);
  } catch (const Stopped& e) {
    end.update({{"outcome", "stopped"}, {"message", e.what()}, {"signal", stop_signal_number()}});
  } catch (const Paused& e) {
    end.update({{"outcome", "paused"}, {"message", e.what()}});
  } catch (const CommError& e) {
    if (!told_soon(station)) throw;  // the group itself is broken
    end.update({{"outcome", "interrupted"}, {"message", e.what()}});
  } catch (const std::exception& e) {
    const Failure failure = failure_of(e);
    end = {{"outcome", "failed"}, {"code", failure.exit_code}, {"message", failure.message}, {"may_pass", failure.may_pass}};
    if (ranks.size() > 1) station.tell({{"broken", tag}, {"rank", world.rank()}});
  }
  line.doing("waiting for its group");
  const std::string own = end.dump(-1, ' ', false, json::error_handler_t::replace);
  for (const auto& bytes : outcome->all_gather(std::as_bytes(std::span<const char>(own)))) {
    json other = json::parse(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    if (end["outcome"] != "failed" && other["outcome"] != "done" && other["outcome"] != "interrupted") end = other;
  }
  end["ended"] = task, end["tag"] = tag;
  if (group->rank() == 0) station.tell(end);
  if (hooks.doing) hooks.doing("waiting for work");
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
      if (open.erase(task) > 0) tell({{"ended", task}, {"outcome", "done"}, {"message", ""}});
    });
    for (const std::string& task : open) tell({{"left", task}});
  } catch (const std::exception& e) {
    const Failure failure = failure_of(e);
    for (const std::string& task : open)
      tell({{"ended", task},
            {"outcome", "failed"},
            {"code", failure.exit_code},
            {"message", failure.message},
            {"may_pass", false}});
  }
}

RunSummary work(comm::World& world, Station& station, const RunHooks& hooks) {
  for (;;) {
    station.tell({{"idle", world.rank()}});
    const json order = station.next_order();
    if (order.contains("quit")) {
      const json& s = order["quit"];
      return {s.at("done").get<std::set<std::string>>(), s.at("failed").get<std::map<std::string, std::string>>(),
              s.at("skipped").get<std::set<std::string>>(), s.at("code"), s.at("stopped")};
    }
    work_on(world, station, order, hooks);
  }
}

}  // namespace

RunSummary run_tasks(comm::World& world, const plan::TaskGraph& graph, const std::set<std::string>& done, const RunHooks& hooks) {
  const auto end_all = [&](const char* who, const std::exception& e) {
    spdlog::error("[run] {} of rank {} on {}: {}", who, world.rank(), world.host(), e.what());
    world.abort(1);
  };
  std::thread coordinator, apart;
  if (world.rank() == 0) {
    coordinator = std::thread([&] {
      try {
        Coordinator(world, graph, done, hooks.placement, hooks.observe).run();
      } catch (const std::exception& e) {
        end_all("the coordinator", e);
      }
    });
  }
  if (world.rank() == 0 && hooks.elsewhere) {
    apart = std::thread([&] {
      try {
        work_elsewhere(world, graph, done, hooks.elsewhere);
      } catch (const std::exception& e) {
        end_all("labelling", e);
      }
    });
  }
  RunSummary summary;
  try {
    Station station(world);
    summary = work(world, station, hooks);
  } catch (const std::exception& e) {
    end_all("a task", e);
  }
  if (coordinator.joinable()) coordinator.join();
  if (apart.joinable()) apart.join();
  return summary;
}

}  // namespace dmoerm::run
