#include "run/stage_selection.h"

#include "data/group_selection.h"
#include "plan/task_id.h"

namespace dmoerm::run {

namespace fs = std::filesystem;
using nlohmann::json;

TaskIdentity selection_identity(const config::RunConfig& config) { return {data::selection_settings(config), {}}; }

fs::path run_selection(const config::RunConfig& config, const RunDirectory& directory, const TaskIdentity& identity) {
  const plan::TaskId task = plan::TaskId::selection();
  const std::string file = "groups.jsonl";
  fs::path path = directory.task(task) / file;
  if (directory.done(task, identity)) return path;
  fs::create_directories(path.parent_path());
  const std::int64_t groups = data::write_selected_groups(config, path);
  directory.complete(task, identity, {file}, {{"groups", groups}});
  return path;
}

}  // namespace dmoerm::run
