// Runs under mpirun with 4 ranks: one rank fails alone, tasks are tried again, pause for more ranks and are stopped, and ranks
// fall silent. Exit code 0: every check held.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/stop.h"
#include "comm/deadline.h"
#include "comm/heartbeat.h"
#include "comm/init_world.h"
#include "run/dispatch_loop.h"
#include "support/expect.h"

namespace {

using namespace dmoerm;
using nlohmann::json;

using test::expect;
using test::failures;

plan::Task task(const std::string& id, int ranks_max, double cost, std::vector<std::string> inputs = {}) {
  plan::Task made;
  made.id = id;
  made.inputs = std::move(inputs);
  made.cost = cost;
  made.ranks_max = ranks_max;
  return made;
}

void work_for(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// Events seen on the first rank.
struct Seen {
  std::mutex mutex;
  std::vector<json> events;
  void operator()(const json& event) {
    const std::lock_guard lock(mutex);
    events.push_back(event);
  }
  std::vector<std::string> outcomes(const std::string& of) {
    const std::lock_guard lock(mutex);
    std::vector<std::string> found;
    for (const json& event : events) {
      if (event.value("event", "") == "end" && event.value("task", "") == of) found.push_back(event["outcome"]);
    }
    return found;
  }
  std::vector<std::size_t> groups(const std::string& of) {
    const std::lock_guard lock(mutex);
    std::vector<std::size_t> found;
    for (const json& event : events) {
      if (event.value("event", "") == "start" && event.value("task", "") == of) found.push_back(event["ranks"].size());
    }
    return found;
  }
};

/// The last of four ranks throws while the others wait in a collective. Only that task fails, after its retry.
void check_one_rank_fails(comm::World& world) {
  plan::TaskGraph graph;
  graph.add(task("odd", 4, 100));
  graph.add(task("after", 1, 1, {"odd"}));
  graph.add(task("other", 1, 1));
  Seen seen;
  run::RunHooks hooks;
  run::TasksToRun tasks{graph, {}, {}};
  tasks.placement.retries = 1;
  hooks.observe = [&](const json& event) { seen(event); };
  tasks.run = [&](const std::string& id, comm::Communicator& group, const train::TaskProgress&) {
    if (id != "odd") return;
    if (group.rank() == group.size() - 1) throw std::bad_alloc();
    std::vector<float> values(1000, 1.0F);
    group.tree_sum(values, group.size());
    group.barrier();
  };
  const run::RunSummary summary = run::run_tasks(world, tasks, hooks);
  expect(summary.done == std::set<std::string>{"other"}, "the other task is done");
  expect(summary.skipped == std::set<std::string>{"after"}, "what waits for it does not start");
  expect(summary.failed.size() == 1 && summary.failed.at("odd").find("out of memory") != std::string::npos,
         "the failure of one rank is the task's: " + (summary.failed.empty() ? "" : summary.failed.begin()->second));
  expect(summary.exit_code == 1, "the exit code says so");
  if (world.rank() == 0) expect(seen.outcomes("odd") == std::vector<std::string>{"retry", "failed"}, "it was tried twice");
}

/// A task that fails on all ranks the first time.
void check_retry_helps(comm::World& world) {
  plan::TaskGraph graph;
  graph.add(task("flaky", 2, 10));
  graph.add(task("refused", 1, 1));
  std::atomic<int> tries{0};
  run::RunHooks hooks;
  run::TasksToRun tasks{graph, {}, {}};
  tasks.placement.retries = 3;
  Seen seen;
  hooks.observe = [&](const json& event) { seen(event); };
  tasks.run = [&](const std::string& id, comm::Communicator& group, const train::TaskProgress&) {
    if (id == "refused") throw ConfigError("a setting is wrong");
    const int largest = comm::largest_of(group, tries.fetch_add(1) > 0 ? 1 : 0);  // the retry may have other ranks
    if (largest == 0) throw NumericError("loss became NaN");
  };
  const run::RunSummary summary = run::run_tasks(world, tasks, hooks);
  expect(summary.done == std::set<std::string>{"flaky"}, "trying again helps");
  expect(summary.failed.contains("refused") && summary.exit_code == 2, "a wrong setting fails");
  if (world.rank() == 0) expect(seen.outcomes("refused") == std::vector<std::string>{"failed"}, "and is not tried again");
}

/// A long task starts on some ranks; when short ones end, the idle ranks join it.
void check_regroup(comm::World& world) {
  plan::TaskGraph graph;
  graph.add(task("long", 4, 40));
  for (int i = 0; i < 3; ++i) graph.add(task(fmt::format("short{}", i), 1, 1));
  std::mutex mutex;
  Seen seen;
  run::RunHooks hooks;
  run::TasksToRun tasks{graph, {}, {}};
  tasks.placement.pause_cost = 0.1;
  hooks.observe = [&](const json& event) { seen(event); };
  double done_before = 0;  // seconds of one rank's work, as a checkpoint would hold them
  tasks.run = [&](const std::string& id, comm::Communicator& group, const train::TaskProgress& progress) {
    if (id != "long") return work_for(0.3);
    // All ranks learn the progress, which rank 0 of the world always keeps.
    double done = done_before;
    for (const auto& bytes : group.all_gather(std::as_bytes(std::span(&done_before, 1)))) {
      double other = 0;
      std::memcpy(&other, bytes.data(), sizeof other);
      done = std::max(done, other);
    }
    while (done < 4.0) {
      work_for(0.05);
      done += 0.05 * group.size();
      done_before = done;
      progress.report({{"fraction", std::min(1.0, done / 4.0)}, {"step", 1}});
      if (comm::largest_of(group, progress.pause_asked() ? 1 : 0) > 0) throw Paused("to continue with more ranks");
    }
  };
  const run::RunSummary summary = run::run_tasks(world, tasks, hooks);
  expect(summary.done.size() == 4 && summary.failed.empty(), "all are done");
  if (world.rank() != 0) return;
  const auto groups = seen.groups("long");
  expect(!groups.empty() && groups.back() > groups.front(),
         fmt::format("the long task went on with more ranks than it began with: {} groups, {} then {}", groups.size(),
                     groups.empty() ? 0 : groups.front(), groups.empty() ? 0 : groups.back()));
}

/// A long task that cannot save refuses to pause, so the idle ranks join another one.
void check_refused_pause(comm::World& world) {
  plan::TaskGraph graph;
  graph.add(task("stuck", 4, 60));
  graph.add(task("willing", 4, 50));
  for (int i = 0; i < 2; ++i) graph.add(task(fmt::format("short{}", i), 1, 1));
  Seen seen;
  run::RunHooks hooks;
  run::TasksToRun tasks{graph, {}, {}};
  tasks.placement.pause_cost = 0.1;
  hooks.observe = [&](const json& event) { seen(event); };
  std::atomic<int> refusals{0}, asked_after{0};
  tasks.run = [&](const std::string& id, comm::Communicator& group, const train::TaskProgress& progress) {
    if (id != "stuck" && id != "willing") return work_for(0.3);
    const bool again = id == "willing" && group.size() > 1;
    for (int i = 0; i < 160 && !again; ++i) {
      work_for(0.05);
      progress.report({{"fraction", 0.3 + 0.004 * i}, {"step", i}});
      const bool asked = group.rank() == 0 && progress.pause_asked();
      if (comm::largest_of(group, asked ? 1 : 0) == 0) continue;
      if (id == "willing") throw Paused("to continue with more ranks");
      if (refusals > 0) ++asked_after;
      if (group.rank() == 0) progress.pause_refused("the disk is full");
      ++refusals;
    }
  };
  const run::RunSummary summary = run::run_tasks(world, tasks, hooks);
  expect(summary.done.size() == 4 && summary.failed.empty(), "all are done");
  const int refused = comm::largest_of(world.all(), refusals > 0 ? 1 : 0), again = comm::largest_of(world.all(), asked_after);
  expect(refused == 1, "the task that would end last is asked to pause");
  expect(again == 0, "it is not asked again at once");
  if (world.rank() != 0) return;
  const auto groups = seen.groups("willing");
  expect(!groups.empty() && groups.back() > 1,  // it may also begin with them
         fmt::format("the ranks that it did not take join another task: {} groups, {} then {}, {} refusals", groups.size(),
                     groups.empty() ? 0 : groups.front(), groups.empty() ? 0 : groups.back(), refusals.load()));
}

/// A signal to one rank stops them all.
void check_stop(comm::World& world) {
  plan::TaskGraph graph;
  for (int i = 0; i < world.size(); ++i) graph.add(task(fmt::format("endless{}", i), 1, 1000));
  graph.add(task("after", 1, 1, {"endless0"}));
  run::TasksToRun tasks{graph, {}, {}};
  tasks.placement.regroup = false;
  tasks.run = [&](const std::string&, comm::Communicator&, const train::TaskProgress&) {
    if (world.rank() == world.size() - 1) request_stop(SIGTERM);
    while (!stop_requested()) work_for(0.01);
    throw Stopped("saved");
  };
  const run::RunSummary summary = run::run_tasks(world, tasks, {});
  expect(summary.stopped && summary.done.empty() && summary.failed.empty(), "stopped, not failed");
  expect(summary.skipped.size() == static_cast<std::size_t>(world.size()) + 1, "all are left for later");
}

/// The first rank writes the result for longer than a collective may take, while the others have ended their part.
void check_slow_writer(comm::World& world) {
  plan::TaskGraph graph;
  graph.add(task("slow", world.size(), 100));
  run::TasksToRun tasks{graph, {}, {}};
  tasks.limit_s = 1;
  tasks.run = [&](const std::string&, comm::Communicator& group, const train::TaskProgress&) {
    group.barrier();
    if (group.rank() == 0) work_for(2.5);
  };
  const run::RunSummary summary = run::run_tasks(world, tasks, {});
  expect(summary.done == std::set<std::string>{"slow"}, "the others wait for the rank that writes");
}

/// Messages of the first rank after the tasks reach the ranks: no thread of the tasks receives them any more.
void check_after_quit(comm::World& world) {
  for (int turn = 0; turn < 5; ++turn) {
    plan::TaskGraph graph;
    graph.add(task("short", 1, 1));
    run::TasksToRun tasks{graph, {}, {}};
    tasks.run = [](const std::string&, comm::Communicator&, const train::TaskProgress&) {};
    run::run_tasks(world, tasks, {});
    for (int rank = 1; rank < world.size() && world.rank() == 0; ++rank) world.send_control(rank, false, "after");
    if (world.rank() == 0) continue;
    const auto message = world.receive_control(false, 5000);
    expect(message && message->text == "after", "a message after the tasks reaches the rank");
  }
}

/// The last rank is stopped by SIGSTOP while the others wait for it.
/// @param when  starting: before MPI starts; working: before a collective; leaving: before its goodbye; left: after it
void fall_silent(const std::string& when) {
  const auto stop_if = [&](bool last, const char* now) {
    if (last && when == now) ::kill(::getpid(), SIGSTOP);
  };
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  comm::Deadline deadline;
  // Long enough for a busy machine: an mpirun that has not yet answered its ranks' connections when they leave waits for ever
  // ("PMIX ERROR: UNREACHABLE", seen with 4 s).
  deadline.begin(15, "not all ranks have started");
  stop_if(rank != nullptr && std::string(rank) == "2", "starting");
  const auto world = comm::init_world();
  const bool last = world->rank() == world->size() - 1;
  {
    comm::Heartbeat heartbeat(*world, 2);
    deadline.end();
    heartbeat.doing("step 41 of a test");
    work_for(1);
    stop_if(last, "working");
    if (when == "working") world->all().barrier();
    stop_if(last, "leaving");
  }
  deadline.begin(2, "not all ranks have left");
  stop_if(last, "left");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], "--silent") == 0) {
    fall_silent(argv[2]);
    return 0;
  }
  const auto world = comm::init_world();
  check_one_rank_fails(*world);
  check_retry_helps(*world);
  check_regroup(*world);
  check_refused_pause(*world);
  check_slow_writer(*world);
  check_after_quit(*world);
  check_stop(*world);
  const int all = comm::largest_of(world->all(), failures > 0 ? 1 : 0);
  if (world->rank() == 0 && all == 0) fmt::print("all held\n");
  return all;
}
