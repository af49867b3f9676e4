#include "run/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/json_text.h"
#include "base/log.h"
#include "nn/device.h"
#include "plan/disk_need.h"
#include "plan/placement.h"
#include "run/changes.h"
#include "run/device_peak.h"
#include "run/model_shape.h"
#include "run/task_parts.h"
#include "train/checkpoint.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Where a rank works: its host, and the GPU or memory that it shares with other ranks.
struct RankPlace {
  std::string host, gpu;  ///< gpu: its address; "" = the rank computes on the CPU
  double memory_mib = 0;  ///< Of the GPU or the host; 0 = not known
};

std::vector<RankPlace> gather_places(const RunContext& context, comm::World& world) {
  const double gpu = nn::free_gpu_memory_mib(context.device());
  const json own{{"host", host_identity()},
                 {"gpu", nn::gpu_address(context.device())},
                 {"memory_mib", context.device().is_cuda() ? gpu : host_memory_mib()}};
  std::vector<RankPlace> places;
  for (const std::string& text : world.all().gather_text(json_line(own))) {
    const json place = json::parse(text);
    places.push_back({place.at("host"), place.at("gpu"), place.at("memory_mib")});
  }
  return places;
}

/// The ranks with the memory that each may use: what is configured, or an equal share of what ranks have in common.
plan::Cluster cluster_of(const std::vector<RankPlace>& places, double memory_gib) {
  plan::Cluster cluster;
  std::map<std::string, int> nodes, sharing;
  for (const RankPlace& place : places) ++sharing[place.host + " " + place.gpu];
  for (const RankPlace& place : places) {
    const double share = place.memory_mib / sharing[place.host + " " + place.gpu];
    cluster.push_back(
        {nodes.emplace(place.host, static_cast<int>(nodes.size())).first->second, memory_gib > 0 ? 1024 * memory_gib : share});
  }
  return cluster;
}

/// The device of this rank as the cost model knows it.
plan::DeviceModel device_of(const RunContext& context) {
  return plan::device_of(context.config().compute, context.device().is_cuda() ? plan::nearest_gpu(gpu_name()) : "");
}

/// Compare what the run will write with the room in its directory. @throws ConfigError if the results alone do not fit
void check_disk(const RunContext& context, const TasksToRun& tasks) {
  const config::RunConfig& config = context.config();
  const std::int64_t kept = std::max(config.base.checkpoints_kept, config.experts.train.checkpoints_kept);
  const plan::DiskNeed need = plan::disk_need(tasks.graph, tasks.done, shape_of(config), device_of(context),
                                              static_cast<int>(tasks.placement.cluster.size()), kept);
  constexpr double kMib = 1024.0 * 1024.0, kWorthSaying = 1024;  // MiB
  const fs::path root = context.directory().root();
  const double free = static_cast<double>(fs::space(root).available) / kMib;
  const std::string figures =
      fmt::format("{}: the run will write about {} of results and keep up to {} of checkpoints at a time; {} are free",
                  root.string(), mib_text(need.results), mib_text(need.checkpoints), mib_text(free));
  if (need.results > free)
    throw ConfigError("disk-too-small", figures + ": free some (`dmoerm clean` helps), or set runs_dir to a larger disk");
  if (need.all() > free) {
    spdlog::warn("[run] {}: lower checkpoints_kept, or free some", figures);
  } else if (need.all() > kWorthSaying) {
    spdlog::info("[run] {}", figures);
  }
}

/// @throws ConfigError naming the first task that is not done and that no group of ranks has the memory for
void check_memory(const TasksToRun& tasks) {
  for (const plan::Task& task : tasks.graph.tasks()) {
    if (!task.external && !tasks.done.contains(task.id)) plan::check_fits(task, tasks.placement.cluster);
  }
}

/// The first event of a run, with its ranks and tasks.
json run_event(const RunContext& context, const std::vector<RankPlace>& places, const plan::TaskGraph& graph,
               const std::set<std::string>& done) {
  json ranks = json::array(), tasks = json::array();
  for (const RankPlace& place : places) ranks.push_back({{"rank", ranks.size()}, {"host", place.host}});
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
  json on{{"backbone", facts.on.backbone}, {"device", facts.on.device}};
  if (!facts.on.imported.empty()) on["imported"] = facts.on.imported;
  write_json_atomically(computed_on_file(directory), on);
  json external = json::object();
  for (const auto& [task, identity] : facts.external) external[task] = identity.settings;
  write_json_atomically(external_file(directory), external);
}

RunFacts read_facts(const RunDirectory& directory) {
  const json on = read_json(computed_on_file(directory)), external = read_json(external_file(directory));
  RunFacts facts{{on.at("backbone"), on.at("device")}, {}};
  facts.on.imported = on.value("imported", facts.on.imported);
  for (const auto& [task, settings] : external.items()) facts.external[task] = {settings, {}};
  return facts;
}

/// Free what a finished task no longer needs; a process killed right after writing the manifest leaves it.
void remove_leftovers(const fs::path& task_folder) {
  TaskParts::remove(task_folder);
  train::remove_checkpoints(task_folder);
}

/// The tasks that need not run. One whose source is done again waits for that and then is looked at again, see is_still_done().
/// Ingest and the selection of groups were done and checked before the graph could be made.
std::set<std::string> done_tasks(const RunDirectory& directory, const std::vector<RunTask>& tasks) {
  std::set<std::string> done;
  for (const RunTask& task : tasks) {
    const bool early = task.id.kind == plan::TaskKind::ingest || task.id.kind == plan::TaskKind::selection;
    if (!early && !directory.done(task.node.id, task.identity)) continue;
    const auto is_done = [&](const std::string& source) { return done.contains(source); };
    if (!std::ranges::all_of(task.identity.sources, is_done)) continue;
    done.insert(task.node.id);
    remove_leftovers(directory.task(task.node.id));
  }
  return done;
}

/// Whether a task was finished before, and its sources that were done again have left the same results as then.
bool is_still_done(const RunDirectory& directory, const RunTask& task, comm::Communicator& ranks) {
  const bool still = ranks.rank() == 0 && directory.still_done(task.node.id, task.identity);
  if (ranks.gather_text(still ? "still done" : "").front().empty()) return false;
  if (ranks.rank() == 0) {
    remove_leftovers(directory.task(task.node.id));
    spdlog::info("[run] task={} is still done: what it was made of is as it was", task.node.id);
  }
  return true;
}

}  // namespace

void complete_facts(const RunContext& context, RunFacts& facts) {
  const Revise revise = [&](const std::string& task, TaskIdentity identity) {
    return context.directory().with_revision(task, std::move(identity));
  };
  for (const RunTask& task : plan_tasks(context.config(), context.store(), facts.on, facts.external, revise)) {
    if (const auto found = facts.external.find(task.node.id); found != facts.external.end()) found->second = task.identity;
  }
}

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
  price_tasks(tasks, context.config(), device_of(context));
  plan::TaskGraph graph;
  std::map<std::string, const RunTask*> by_id;
  for (const RunTask& task : tasks) {
    graph.add(task.node);
    by_id[task.node.id] = &task;
  }
  TasksToRun to_run{.graph = graph, .done = {}, .run = {}};
  if (world.rank() == 0) {
    to_run.done = done_tasks(context.directory(), tasks);
    context.directory().hashes().save();
    spdlog::info("[run] {}, {} done already, {}, {}", counted(std::ssize(tasks), "task"), to_run.done.size(),
                 counted(world.size(), "rank"), context.directory().root().string());
    if (context.config().folds > 0)
      spdlog::info("[run] folds: base and experts are trained {} more times for the aggregator; folds: 0 leaves that out",
                   context.config().folds);
  }
  to_run.run = [&](const std::string& id, comm::Communicator& ranks, const train::TaskProgress& progress) {
    const RunTask& task = *by_id.at(id);
    if (is_still_done(context.directory(), task, ranks)) return;
    if (ranks.rank() == 0) spdlog::info("[run] task={} starts on {}", id, counted(ranks.size(), "rank"));
    context.set_progress(progress);
    task.run(context, task.identity, ranks);
    if (ranks.rank() == 0) spdlog::info("[run] task={} done", id);
  };
  const config::ClusterConfig& cluster = context.config().cluster;
  const std::vector<RankPlace> places = gather_places(context, world);
  to_run.placement.cluster = cluster_of(places, cluster.memory_gib);
  if (hooks.check) {
    hooks.check([&] {
      check_memory(to_run);
      check_disk(context, to_run);
    });
  }
  to_run.limit_s = cluster.timeout_s;
  to_run.placement.retries = static_cast<int>(cluster.retries);
  to_run.placement.regroup = cluster.regroup;
  if (cluster.checkpoint_mib_s > 0) {
    to_run.placement.checkpoint_mib_s = cluster.checkpoint_mib_s;
    to_run.placement.measure_checkpoints = false;
  }
  const bool observed = world.rank() == 0 && hooks.observe;
  if (observed) hooks.observe(run_event(context, places, graph, to_run.done));
  const RunSummary summary = run_tasks(world, to_run, hooks);
  if (observed) {
    const int code = summary.complete() ? 0 : summary.stopped ? Stopped("").exit_code() : summary.exit_code;
    hooks.observe(event("finish", {{"code", code}}));
  }
  return summary;
}

}  // namespace dmoerm::run
