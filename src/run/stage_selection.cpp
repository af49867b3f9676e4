#include "run/stage_selection.h"

#include "data/group_selection.h"
#include "plan/task_id.h"

namespace dmoerm::run {

namespace fs = std::filesystem;
using nlohmann::json;

TaskIdentity selection_identity(const config::RunConfig& config) {
  const config::DataConfig& d = config.data;
  json settings = data::selection_settings(config);
  settings.update({{"seed", config.seed},
                   {"bad_lines_max", d.bad_lines_max},
                   {"responses_per_group_max", d.responses_per_group_max},
                   {"groups_per_category_max", d.groups_per_category_max},
                   {"validation_share", d.validation_share},
                   {"test_share", d.test_share}});
  return {settings, {}};
}

fs::path run_selection(const config::RunConfig& config, const RunDirectory& directory, const TaskIdentity& identity) {
  const std::string task = plan::TaskId::selection().text(), file = "groups.jsonl";
  fs::path path = directory.task(task) / file;
  if (directory.done(task, identity)) return path;
  fs::create_directories(path.parent_path());
  const std::int64_t groups = data::write_selected_groups(config, path);
  directory.complete(task, identity, {file}, {{"groups", groups}});
  return path;
}

}  // namespace dmoerm::run
