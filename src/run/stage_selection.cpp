#include "run/stage_selection.h"

#include "base/log.h"
#include "data/group_selection.h"
#include "plan/task_id.h"
#include "run/task_settings.h"

namespace dmoerm::run {

namespace fs = std::filesystem;
using nlohmann::json;

TaskIdentity selection_identity(const config::RunConfig& config) {
  return {data::selection_settings(config), {}, contents_of_inputs(config)};
}

fs::path run_selection(const config::RunConfig& config, const RunDirectory& directory, const TaskIdentity& identity) {
  const plan::TaskId task = plan::TaskId::selection();
  const std::string file = "groups.jsonl";
  fs::path path = directory.task(task) / file;
  if (directory.done(task, identity)) return path;
  fs::create_directories(path.parent_path());
  const data::SelectedGroups selected = data::write_selected_groups(config, path);
  directory.complete(task, identity, {file},
                     {{"groups", selected.groups}, {"dropped", selected.dropped}, {"noted", selected.noted}});
  return path;
}

void tell_selection(const RunDirectory& directory) {
  const json metrics = directory.metrics(plan::TaskId::selection());
  for (const char* what : {"dropped", "noted"}) {
    const json counts = metrics.value(what, json::object());
    for (const auto& [words, times] : counts.items()) spdlog::warn("[label] {} {}: {}", what, times.get<std::int64_t>(), words);
  }
}

}  // namespace dmoerm::run
