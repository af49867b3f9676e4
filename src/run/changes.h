// Finds the tasks of a run directory that were made with another configuration or other data.
#pragma once
#include <cstddef>
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
/// @param readers  number of finished tasks beside `tasks` that are done again if the results of these change; for the refusal
/// @throws ConfigError naming every setting that differs, with its old and new value
std::vector<std::string> stale_tasks(const RunDirectory& directory, const std::vector<IdentifiedTask>& tasks, bool update,
                                     std::size_t readers = 0);

/// Number of finished tasks of the ranks. All of them read the token store, and those that train read the verdicts.
std::size_t finished_by_ranks(const RunDirectory& directory);

}  // namespace dmoerm::run
