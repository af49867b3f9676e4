#include "run/clean_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/files.h"
#include "run/owner_file.h"
#include "run/task_parts.h"
#include "train/checkpoint.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::hours kOld{24};  // a temporary file of another host that is older has no writer any more

std::uintmax_t bytes_in(const fs::path& path) {
  if (!fs::is_directory(path)) return fs::file_size(path);
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path)) bytes += entry.is_regular_file() ? entry.file_size() : 0;
  return bytes;
}

/// Whether a path belongs to labels: the folders of labelling, and a label store, which has a LOCK.
bool is_of_labels(const fs::path& path, const fs::path& run_directory) {
  const std::string first = path.lexically_relative(run_directory).begin()->string();
  return first == "label" || first.starts_with("label-round-") || first == "selection" || fs::exists(path / "LOCK");
}

bool is_done(const fs::path& task_folder) { return fs::exists(task_folder / "manifest.json"); }

}  // namespace

std::vector<Removable> removable_files(const fs::path& run_directory) {
  std::vector<Removable> found;
  const auto add = [&](const fs::path& path, const char* why) { found.push_back({path, why, bytes_in(path)}); };
  const fs::path hashes = run_directory / "hashes.json";
  if (fs::exists(hashes)) add(hashes, "hashes, which are computed again");
  for (auto entry = fs::recursive_directory_iterator(run_directory); entry != fs::recursive_directory_iterator(); ++entry) {
    const fs::path& path = entry->path();
    const std::string name = path.filename().string();
    if (is_of_labels(path, run_directory)) {
      if (entry->is_directory()) entry.disable_recursion_pending();
      continue;
    }
    const bool old = fs::last_write_time(path) + kOld < fs::file_time_type::clock::now();
    if (is_temporary_name(name) && (old || is_stale_temporary(name))) {
      add(path, "left by a process that was killed");
    } else if (name == TaskParts::kFolder && entry->is_directory() && is_done(path.parent_path())) {
      add(path, "kept parts of a finished task");
    } else if (train::is_checkpoint_file(path) && is_done(path.parent_path())) {
      add(path, "checkpoint of a finished task");
    } else {
      continue;
    }
    if (entry->is_directory()) entry.disable_recursion_pending();
  }
  std::ranges::sort(found, {}, &Removable::path);
  return found;
}

std::vector<Removable> clean_run(const fs::path& run_directory, bool dry_run) {
  if (!fs::exists(run_directory / "config.yaml")) {
    throw ConfigError("not-a-run-directory",
                      fmt::format("{}: not the directory of a run: it has no config.yaml; name one such as "
                                  "runs/quickstart",
                                  run_directory.string()));
  }
  const OwnerFile owner(run_directory);  // refuses while a run works there
  std::vector<Removable> found = removable_files(run_directory);
  for (const Removable& one : found) {
    if (!dry_run) fs::remove_all(one.path);
  }
  return found;
}

}  // namespace dmoerm::run
