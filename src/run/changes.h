// Finds the tasks of a run directory that were made with another configuration or other data.
#pragma once
#include <string>
#include <vector>

#include "run/run_directory.h"

namespace dmoerm::run {

struct IdentifiedTask {
  std::string id;
  TaskIdentity identity;
};

/// The tasks that were finished or begun with another identity.
/// @param update  true: log them; false: refuse such a run directory
/// @throws ConfigError naming every setting that differs, with its old and new value
std::vector<std::string> stale_tasks(const RunDirectory& directory, const std::vector<IdentifiedTask>& tasks, bool update);

}  // namespace dmoerm::run
