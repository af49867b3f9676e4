// Which folders are those of runs.
#pragma once
#include <filesystem>

namespace dmoerm::report {

/// Whether a folder holds something of a run: its configuration, its timeline or a task's folder. Runs further below do not
/// count.
bool is_run_directory(const std::filesystem::path& folder);

/// @throws ConfigError if the folder does not exist or is not that of a run. The message names the runs below it, or the run in
/// which it lies.
void expect_run_directory(const std::filesystem::path& folder);

}  // namespace dmoerm::report
