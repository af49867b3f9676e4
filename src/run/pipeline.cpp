#include "run/pipeline.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "run/changes.h"
#include "train/checkpoint.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

plan::Cluster cluster_of(const std::vector<std::string>& hosts) {
  plan::Cluster cluster;
  std::map<std::string, int> nodes;
  for (const std::string& host : hosts) cluster.push_back({nodes.emplace(host, static_cast<int>(nodes.size())).first->second, 0});
  return cluster;
}

/// The first event of a run, with its ranks and tasks.
json run_event(const RunContext& context, const std::vector<std::string>& hosts, const plan::TaskGraph& graph,
               const std::set<std::string>& done) {
  json ranks = json::array(), tasks = json::array();
  for (const std::string& host : hosts) ranks.push_back({{"rank", ranks.size()}, {"host", host}});
  for (const plan::Task& task : graph.tasks()) {
    tasks.push_back({{"id", task.id},
                     {"cost", task.cost},
                     {"inputs", task.inputs},
                     {"done", done.contains(task.id)},
                     {"elsewhere", task.external}});
  }
  return event("run", {{"name", context.config().name}, {"ranks", ranks}, {"tasks", tasks}});
}

fs::path computed_on_file(const RunDirectory& directory) { return directory.root() / "computed_on.json"; }
fs::path external_file(const RunDirectory& directory) { return directory.root() / "external.json"; }

void write_facts(const RunDirectory& directory, const RunFacts& facts) {
  write_json_atomically(computed_on_file(directory), {{"backbone", facts.on.backbone}, {"device", facts.on.device}});
  json external = json::object();
  for (const auto& [task, identity] : facts.external) external[task] = identity.settings;
  write_json_atomically(external_file(directory), external);
}

RunFacts read_facts(const RunDirectory& directory) {
  const json on = read_json(computed_on_file(directory)), external = read_json(external_file(directory));
  RunFacts facts{{on.at("backbone"), on.at("device")}, {}};
  for (const auto& [task, settings] : external.items()) facts.external[task] = {settings, {}};
  return facts;
}

/// The tasks that need not run. Ingest and the selection of groups were done and checked before the graph could be made.
std::set<std::string> done_tasks(const RunDirectory& directory, const std::vector<RunTask>& tasks) {
  std::set<std::string> done;
  for (const RunTask& task : tasks) {
    const bool early = task.id.kind == plan::TaskKind::ingest || task.id.kind == plan::TaskKind::selection;
    if (!early && !directory.done(task.node.id, task.identity)) continue;
    done.insert(task.node.id);
    train::remove_checkpoints(directory.task(task.node.id));  // a process killed right after writing the manifest leaves them
  }
  return done;
}

}  // namespace

void check_run_directory(const RunContext& context, const RunFacts& facts, bool update) {
  std::vector<IdentifiedTask> identified;
  for (const RunTask& task : plan_tasks(context.config(), context.store(), facts.on, facts.external))
    identified.push_back({task.node.id, task.identity});
  for (const std::string& task : stale_tasks(context.directory(), identified, update)) context.directory().forget(task);
  write_facts(context.directory(), facts);
}

RunSummary run_pipeline(RunContext& context, comm::World& world, const RunHooks& hooks) {
  const RunFacts facts = read_facts(context.directory());
  std::vector<RunTask> tasks = plan_tasks(context.config(), context.store(), facts.on, facts.external);
  price_tasks(tasks, context.config(), plan::device_of(context.config().compute));
  plan::TaskGraph graph;
  std::map<std::string, const RunTask*> by_id;
  for (const RunTask& task : tasks) {
    graph.add(task.node);
    by_id[task.node.id] = &task;
  }
  TasksToRun to_run{.graph = graph, .done = {}, .run = {}};
  if (world.rank() == 0) {
    to_run.done = done_tasks(context.directory(), tasks);
    spdlog::info("[run] {} tasks, {} done already, {} ranks, {}", tasks.size(), to_run.done.size(), world.size(),
                 context.directory().root().string());
  }
  to_run.run = [&](const std::string& id, comm::Communicator& ranks, const train::TaskLine& line) {
    const RunTask& task = *by_id.at(id);
    if (ranks.rank() == 0) spdlog::info("[run] task={} starts on {} ranks", id, ranks.size());
    context.set_line(line);
    task.run(context, task.identity, ranks);
    if (ranks.rank() == 0) spdlog::info("[run] task={} done", id);
  };
  const std::vector<std::string> hosts = world.all().gather_text(world.host());
  to_run.placement.cluster = cluster_of(hosts);
  to_run.placement.retries = static_cast<int>(context.config().cluster.retries);
  to_run.placement.regroup = context.config().cluster.regroup;
  const bool observed = world.rank() == 0 && hooks.observe;
  if (observed) hooks.observe(run_event(context, hosts, graph, to_run.done));
  const RunSummary summary = run_tasks(world, to_run, hooks);
  if (observed) {
    const int code = summary.complete() ? 0 : summary.stopped ? Stopped("").exit_code() : summary.exit_code;
    hooks.observe(event("finish", {{"code", code}}));
  }
  return summary;
}

}  // namespace dmoerm::run
