#include "run/dispatch_loop.h"

#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/thread.h"
#include "run/worker_inbox.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

/// Whether the coordinator reports soon that another rank has failed. A transport may notice the failure before that message.
bool told_soon(const WorkerInbox& inbox) {
  for (int i = 0; i < 50 && !inbox.broken(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return inbox.broken();
}

Ended failed(const std::string& task, int tag, const std::exception& e) {
  const Failure failure = failure_of(e);
  return {.task = task,
          .tag = tag,
          .outcome = TaskOutcome::failed,
          .message = failure.message,
          .exit_code = failure.exit_code,
          .may_pass = failure.may_pass};
}

/// The outcome of a task on all its ranks: if one failed, paused or stopped, all did.
Ended agreed(comm::Communicator& ranks, Ended own) {
  for (const std::string& text : ranks.gather_text(encode(own))) {
    Ended other = std::get<Ended>(decode_to_coordinator(text));
    const bool speaks = other.outcome != TaskOutcome::done && other.outcome != TaskOutcome::interrupted;
    if (own.outcome != TaskOutcome::failed && speaks) own = std::move(other);
  }
  return own;
}

/// One rank's worker, which carries out the coordinator's orders.
class Worker {
 public:
  Worker(comm::World& world, const TasksToRun& tasks, const RunHooks& hooks)
      : world_(world), tasks_(tasks), hooks_(hooks), inbox_(world) {}

  RunSummary work() {
    for (;;) {
      inbox_.tell(Idle{world_.rank()});
      const auto order = inbox_.next_order();
      if (const auto* quit = std::get_if<QuitOrder>(&order)) return quit->summary;
      work_on(std::get<RunOrder>(order));
    }
  }

 private:
  /// Do one task. All its ranks agree on the outcome before the first of them reports it.
  void work_on(const RunOrder& order) {
    inbox_.begin(order.tag);
    const auto ranks = world_.make_group(order.ranks, 2 * order.tag);
    // Agreeing on the outcome needs a communicator of its own: some ranks may still be waiting in a collective of `ranks`.
    const auto outcome = world_.make_group(order.ranks, 2 * order.tag + 1);
    constexpr double kPatientTimes = 10;  // the first rank writes and checks the result while the others wait
    ranks->limit_waits(tasks_.limit_s);
    outcome->limit_waits(kPatientTimes * tasks_.limit_s);
    ranks->break_when(inbox_.broken());
    const train::TaskProgress progress = progress_of(order, *ranks);
    progress.doing("starting");
    const Ended own = attempt(order, *ranks, progress);
    progress.doing("waiting for the task's other ranks");
    const Ended end = agreed(*outcome, own);
    if (end.outcome == TaskOutcome::failed) ranks->abandon();
    if (ranks->rank() == 0) inbox_.tell(end);
    if (hooks_.doing) hooks_.doing("waiting for work");
  }

  train::TaskProgress progress_of(const RunOrder& order, const comm::Communicator& ranks) {
    train::TaskProgress progress;
    progress.pause_asked = [this] { return inbox_.pause_asked(); };
    progress.pause_refused = [this, task = order.task](const std::string&) {
      inbox_.refuse_pause();
      inbox_.tell(PauseRefused{task});
    };
    progress.doing = [this, task = order.task](const std::string& what) {
      if (hooks_.doing) hooks_.doing("task " + task + ", " + what);
    };
    progress.report = [this, &order, first = ranks.rank() == 0](const json& event) {
      if (!first) return;
      json fields = event;
      fields["ranks"] = order.ranks.size();
      inbox_.tell(Progress{order.task, std::move(fields)});
    };
    return progress;
  }

  Ended attempt(const RunOrder& order, comm::Communicator& ranks, const train::TaskProgress& progress) {
    Ended end{.task = order.task, .tag = order.tag};
    try {
      tasks_.run(order.task, ranks, progress);
    } catch (const Stopped& e) {
      end.outcome = TaskOutcome::stopped;
      end.message = e.what();
      end.signal = stop_signal_number();
    } catch (const Paused& e) {
      end.outcome = TaskOutcome::paused;
      end.message = e.what();
    } catch (const CommError& e) {
      if (!told_soon(inbox_)) throw;  // no rank failed, so the communicator is broken
      end.outcome = TaskOutcome::interrupted;
      end.message = e.what();
    } catch (const std::exception& e) {
      end = failed(order.task, order.tag, e);
      if (order.ranks.size() > 1) inbox_.tell(Broken{order.tag, world_.rank()});
    }
    return end;
  }

  comm::World& world_;
  const TasksToRun& tasks_;
  const RunHooks& hooks_;
  WorkerInbox inbox_;
};

/// Let the caller do the open external tasks, and report each of them to the coordinator.
void do_external(comm::World& world, const TasksToRun& tasks, const RunHooks& hooks, TaskBoard& board) {
  std::set<std::string> open;
  for (const plan::Task& task : tasks.graph.tasks()) {
    if (task.external && !tasks.done.contains(task.id)) open.insert(task.id);
  }
  if (open.empty()) return;
  const auto tell = [&](const ToCoordinator& message) { world.send_control(0, true, encode(message)); };
  try {
    const std::set<std::string> all = open;
    const auto done = [&](const std::string& task) {
      if (open.erase(task) > 0) tell(Ended{.task = task});
    };
    hooks.external(all, done, board);
    board.if_open([&] {
      for (const std::string& task : open) tell(Left{task});
    });
  } catch (const std::exception& e) {
    board.if_open([&] {
      for (const std::string& task : open) {
        Ended end = failed(task, 0, e);
        end.may_pass = false;
        tell(end);
      }
    });
  }
}

}  // namespace

RunSummary run_tasks(comm::World& world, const TasksToRun& tasks, const RunHooks& hooks) {
  const auto or_end_all = [&](const char* who, const std::function<void()>& work) {
    try {
      work();
    } catch (const std::exception& e) {
      spdlog::error("[run] {} of rank {} on {}: {}", who, world.rank(), world.host(), failure_of(e).message);
      world.abort(1);
    }
  };
  std::thread coordinator, external;
  TaskBoard board(tasks.done);
  RunSummary summary;
  or_end_all("a task", [&] {
    if (world.rank() == 0) {
      coordinator = start_thread("the thread of the coordinator", [&] {
        or_end_all("the coordinator",
                   [&] { Coordinator(world, tasks.graph, tasks.done, tasks.placement, hooks.observe, board).run(); });
      });
    }
    if (world.rank() == 0 && hooks.external)
      external = start_thread("the thread of labelling",
                              [&] { or_end_all("labelling", [&] { do_external(world, tasks, hooks, board); }); });
    summary = Worker(world, tasks, hooks).work();
  });
  if (coordinator.joinable()) coordinator.join();
  if (external.joinable()) external.join();
  return summary;
}

}  // namespace dmoerm::run
