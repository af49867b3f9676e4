#include "train/pipeline.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "train/dispatch_loop.h"

namespace dmoerm::train {

namespace {

std::filesystem::path label_plan_file(const RunDirectory& directory) { return directory.task("label") / "plan.json"; }

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

void check_run_directory(const RunContext& context, bool update) {
  std::string differences;
  std::vector<std::string> stale;
  for (const RunTask& task :
       plan_tasks(context.config(), context.store(), load_label_plan(context.directory(), context.config()))) {
    const auto change = context.directory().change(task.node.id, task.identity);
    if (!change) continue;
    stale.push_back(task.node.id);
    for (const std::string& difference : change->differences) differences += fmt::format("\n  {}: {}", task.node.id, difference);
    if (update)
      spdlog::info("[run] task={} is done again: {}", task.node.id,
                   change->differences.empty() ? "an input changed" : change->differences.front());
  }
  if (stale.empty()) return;
  if (!update) {
    throw ConfigError(
        fmt::format("{} was made with another configuration or other data; {} tasks would be done again:{}\nrun with --update to "
                    "do that, or give the run another name",
                    context.directory().root().string(), stale.size(), differences));
  }
  for (const std::string& id : stale) context.directory().forget(id);
}

PipelineSummary run_pipeline(RunContext& context, comm::World& world,
                             const std::function<void(const std::set<std::string>& open,
                                                      const std::function<void(const std::string& task)>& done)>& label) {
  const std::vector<RunTask> tasks =
      plan_tasks(context.config(), context.store(), load_label_plan(context.directory(), context.config()));
  std::set<std::string> done;
  plan::TaskGraph graph;
  std::map<std::string, const RunTask*> by_id;
  for (const RunTask& task : tasks) {
    graph.add(task.node);
    by_id[task.node.id] = &task;
  }
  if (world.rank() == 0) {  // its coordinator alone decides what is done
    for (const RunTask& task : tasks) {
      if (context.directory().done(task.node.id, task.identity)) done.insert(task.node.id);
    }
    spdlog::info("[run] {} tasks, {} done already, {} ranks, {}", tasks.size(), done.size(), world.size(),
                 context.directory().root().string());
  }
  Elsewhere elsewhere;
  if (label) {
    elsewhere = [&](const std::function<void(const std::string&)>& finished) {
      std::set<std::string> open;
      for (const RunTask& task : tasks) {
        if (task.node.elsewhere && !done.contains(task.node.id)) open.insert(task.node.id);
      }
      label(open, finished);
    };
  }
  const RunSummary summary = run_tasks(world, graph, done, elsewhere, [&](const std::string& id, comm::Communicator& group) {
    const RunTask& task = *by_id.at(id);
    if (group.rank() == 0) spdlog::info("[run] task={} starts on {} ranks", id, group.size());
    task.run(context, task.identity, group);
    if (group.rank() == 0) spdlog::info("[run] task={} done", id);
  });
  PipelineSummary result;
  for (const auto& [id, message] : summary.failed) result.failed.push_back(id + ": " + message);
  result.skipped.assign(summary.skipped.begin(), summary.skipped.end());
  result.exit_code = summary.exit_code, result.stopped = summary.stopped;
  result.complete = result.failed.empty() && result.skipped.empty();
  return result;
}

}  // namespace dmoerm::train
