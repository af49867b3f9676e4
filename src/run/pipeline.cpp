#include "run/pipeline.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "run/dispatch_loop.h"
#include "train/checkpoint.h"

namespace dmoerm::run {

namespace {

/// Where each rank runs. Collective.
std::vector<std::string> hosts_of(comm::World& world) {
  const std::string host = world.host();
  std::vector<std::string> hosts;
  for (const auto& bytes : world.all().all_gather(std::as_bytes(std::span<const char>(host))))
    hosts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return hosts;
}

plan::Cluster cluster_of(const std::vector<std::string>& hosts) {
  plan::Cluster cluster;
  std::map<std::string, int> nodes;
  for (const std::string& host : hosts) cluster.push_back({nodes.emplace(host, static_cast<int>(nodes.size())).first->second, 0});
  return cluster;
}

/// The first event of a run: its ranks and tasks.
nlohmann::json run_event(const RunContext& context, const std::vector<std::string>& hosts, const plan::TaskGraph& graph,
                         const std::set<std::string>& done) {
  nlohmann::json ranks = nlohmann::json::array(), tasks = nlohmann::json::array();
  for (const std::string& host : hosts) ranks.push_back({{"rank", ranks.size()}, {"host", host}});
  for (const plan::Task& task : graph.tasks()) {
    tasks.push_back({{"id", task.id},
                     {"cost", task.cost},
                     {"inputs", task.inputs},
                     {"done", done.contains(task.id)},
                     {"elsewhere", task.elsewhere}});
  }
  return event("run", {{"name", context.config().name}, {"ranks", ranks}, {"tasks", tasks}});
}

std::filesystem::path label_plan_file(const RunDirectory& directory) { return directory.task("label") / "plan.json"; }
std::filesystem::path computed_on_file(const RunDirectory& directory) { return directory.root() / "computed_on.json"; }

std::vector<RunTask> tasks_of(const RunContext& context, const ComputedOn& on) {
  return plan_tasks(context.config(), context.store(), on, load_label_plan(context.directory(), context.config()));
}

}  // namespace

void save_label_plan(const RunDirectory& directory, const LabelPlan& plan) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [task, identity] : plan) json[task] = identity.settings;
  write_json_atomically(label_plan_file(directory), json);
}

LabelPlan load_label_plan(const RunDirectory& directory, const config::RunConfig& config) {
  LabelPlan plan;
  if (config.labels.judges.empty()) return plan;
  const nlohmann::json json = read_json(label_plan_file(directory));
  for (const auto& [task, settings] : json.items()) plan[task] = {settings, {}};
  return plan;
}

void check_run_directory(const RunContext& context, const ComputedOn& on, bool update) {
  std::string differences;
  std::vector<std::string> stale;
  for (const RunTask& task : tasks_of(context, on)) {
    const auto change = context.directory().change(task.node.id, task.identity);
    if (!change) continue;
    stale.push_back(task.node.id);
    for (const std::string& difference : change->differences) differences += fmt::format("\n  {}: {}", task.node.id, difference);
    if (update)
      spdlog::info("[run] task={} is done again: {}", task.node.id,
                   change->differences.empty() ? "an input changed" : change->differences.front());
  }
  if (!stale.empty() && !update) {
    throw ConfigError(
        fmt::format("{} was made with another configuration or other data; {} tasks would be done again:{}\nrun with --update to "
                    "do that, or give the run another name",
                    context.directory().root().string(), stale.size(), differences));
  }
  for (const std::string& id : stale) context.directory().forget(id);
  write_json_atomically(computed_on_file(context.directory()), {{"backbone", on.backbone}, {"device", on.device}});
}

PipelineSummary run_pipeline(RunContext& context, comm::World& world, const PipelineHooks& pipeline_hooks) {
  const nlohmann::json on = read_json(computed_on_file(context.directory()));
  std::vector<RunTask> tasks = tasks_of(context, {on.at("backbone"), on.at("device")});
  price_tasks(tasks, context.config(), plan::device_of(context.config().compute));
  std::set<std::string> done;
  plan::TaskGraph graph;
  std::map<std::string, const RunTask*> by_id;
  for (const RunTask& task : tasks) {
    graph.add(task.node);
    by_id[task.node.id] = &task;
  }
  if (world.rank() == 0) {  // its coordinator alone decides what is done
    for (const RunTask& task : tasks) {
      if (!context.directory().done(task.node.id, task.identity)) continue;
      done.insert(task.node.id);
      train::remove_checkpoints(context.directory().task(task.node.id));  // left by a kill right after the manifest
    }
    spdlog::info("[run] {} tasks, {} done already, {} ranks, {}", tasks.size(), done.size(), world.size(),
                 context.directory().root().string());
  }
  RunHooks hooks;
  hooks.doing = pipeline_hooks.doing, hooks.observe = pipeline_hooks.observe;
  if (pipeline_hooks.label) {
    hooks.elsewhere = [&](const std::function<void(const std::string&)>& finished) {
      std::set<std::string> open;
      for (const RunTask& task : tasks) {
        if (task.node.elsewhere && !done.contains(task.node.id)) open.insert(task.node.id);
      }
      pipeline_hooks.label(open, finished);
    };
  }
  hooks.run_task = [&](const std::string& id, comm::Communicator& group, const train::TaskLine& line) {
    const RunTask& task = *by_id.at(id);
    if (group.rank() == 0) spdlog::info("[run] task={} starts on {} ranks", id, group.size());
    context.set_line(line);
    task.run(context, task.identity, group);
    if (group.rank() == 0) spdlog::info("[run] task={} done", id);
  };
  const std::vector<std::string> hosts = hosts_of(world);
  hooks.placement.cluster = cluster_of(hosts);
  hooks.placement.retries = static_cast<int>(context.config().cluster.retries);
  hooks.placement.regroup = context.config().cluster.regroup;
  if (world.rank() == 0 && hooks.observe) hooks.observe(run_event(context, hosts, graph, done));
  const RunSummary summary = run_tasks(world, graph, done, hooks);
  PipelineSummary result;
  for (const auto& [id, message] : summary.failed) result.failed.push_back(fmt::format("{}: {}", id, message));
  result.skipped.assign(summary.skipped.begin(), summary.skipped.end());
  result.exit_code = summary.exit_code, result.stopped = summary.stopped;
  result.complete = result.failed.empty() && result.skipped.empty();
  if (world.rank() == 0 && hooks.observe)
    hooks.observe(event("finish", {{"code", result.complete ? 0 : result.stopped ? Stopped("").exit_code() : result.exit_code}}));
  return result;
}

}  // namespace dmoerm::run
