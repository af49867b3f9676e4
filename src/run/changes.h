// What a run directory holds of another configuration or of other data.
#pragma once
#include <string>
#include <vector>

#include "run/run_directory.h"

namespace dmoerm::run {

struct IdentifiedTask {
  std::string id;
  TaskIdentity identity;
};

/// Tasks that were finished or begun with another identity.
/// @param update  log them; otherwise such a run directory is refused
/// @throws ConfigError naming every setting that differs, with its old and new value
std::vector<std::string> stale_tasks(const RunDirectory& directory, const std::vector<IdentifiedTask>& tasks, bool update);

}  // namespace dmoerm::run
