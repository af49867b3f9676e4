// Frees disk space in a run's directory without losing work.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dmoerm::run {

/// Something that can be removed.
struct Removable {
  std::filesystem::path path;
  std::string why;
  std::uintmax_t bytes = 0;
};

/// What a run no longer needs: checkpoints and kept parts of finished tasks, files that a dead process left under a temporary
/// name, and hashes that can be computed again. Labels, results, logs and the bundle are never among them.
std::vector<Removable> removable_files(const std::filesystem::path& run_directory);

/// Find them and, unless it is a dry run, remove them. @return what was found
/// @throws ConfigError if the directory is not that of a run, or if a process works in it
std::vector<Removable> clean_run(const std::filesystem::path& run_directory, bool dry_run);

}  // namespace dmoerm::run
