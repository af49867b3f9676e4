#include "report/run_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "plan/task_id.h"

namespace dmoerm::report {
namespace {

namespace fs = std::filesystem;

constexpr int kTaskDepth = 3;      // folders below "expert": category, set, point
constexpr int kSearchDepth = 3;    // of runs below a folder
constexpr int kSearchMax = 20000;  // entries that are looked at
constexpr std::size_t kNamedMax = 5;

bool has(const fs::path& folder, const char* file) {
  std::error_code failed;
  return fs::is_regular_file(folder / file, failed);
}

/// Whether the file has a line "name: ...", as the configuration of every run does.
bool names_a_run(const fs::path& config) {
  std::ifstream in(config, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("name:")) return true;
  }
  return false;
}

/// Whether tasks of a run have folders of that name.
bool is_task_word(const std::string& name) {
  return std::ranges::any_of(std::initializer_list<const char*>{"", "/x", "/x/y", "/groups"},
                             [&](const char* rest) { return plan::TaskId::parse(name + rest).has_value(); });
}

/// Whether a task has left its manifest or its curve. An expert's own folder lies below its set's.
bool has_task(const fs::path& folder) {
  std::error_code failed;
  for (fs::directory_iterator top(folder, failed), end; !failed && top != end; top.increment(failed)) {
    std::error_code ignored;
    if (!top->is_directory(ignored) || !is_task_word(top->path().filename().string())) continue;
    const auto is_task = [&](const fs::path& file) {
      const fs::path task = file.parent_path().lexically_relative(folder);
      const std::string name = file.filename().string();
      if (name == "manifest.json") return plan::TaskId::parse(task.generic_string()).has_value();
      return name == "metrics.jsonl" && (plan::TaskId::parse(task.generic_string()).has_value() ||
                                         plan::TaskId::parse(task.parent_path().generic_string()).has_value());
    };
    for (fs::recursive_directory_iterator it(top->path(), fs::directory_options::skip_permission_denied, ignored), last;
         !ignored && it != last; it.increment(ignored)) {
      if (it.depth() >= kTaskDepth) it.disable_recursion_pending();
      if (is_task(it->path())) return true;
    }
  }
  return false;
}

std::vector<fs::path> runs_below(const fs::path& folder) {
  std::vector<fs::path> runs;
  std::error_code failed;
  int seen = 0;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, failed), end;
       !failed && it != end && ++seen < kSearchMax; it.increment(failed)) {
    std::error_code ignored;
    if (!it->is_directory(ignored)) continue;
    const bool run = is_run_directory(it->path());
    if (run) runs.push_back(it->path());
    if (run || it.depth() + 1 >= kSearchDepth) it.disable_recursion_pending();
  }
  std::ranges::sort(runs);
  return runs;
}

/// What to name instead; "" if there is nothing.
std::string hint_for(const fs::path& folder) {
  std::error_code failed;
  fs::path above = fs::weakly_canonical(folder, failed);
  for (int i = 0; i < kTaskDepth && above.has_relative_path(); ++i) {
    above = above.parent_path();
    if (has(above, "config.yaml") && is_run_directory(above)) return fmt::format("; it lies in the run {}", above.string());
  }
  const std::vector<fs::path> below = runs_below(folder);
  std::string names;
  for (std::size_t i = 0; i < std::min(below.size(), kNamedMax); ++i) names += (i > 0 ? ", " : "") + below[i].string();
  if (below.size() > kNamedMax) names += fmt::format(" and {} more", below.size() - kNamedMax);
  return names.empty() ? "" : fmt::format("; name a run below it: {}", names);
}

}  // namespace

bool is_run_directory(const fs::path& folder) {
  return has(folder, "timeline.jsonl") || (has(folder, "config.yaml") && names_a_run(folder / "config.yaml")) || has_task(folder);
}

void expect_run_directory(const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed))
    throw ConfigError("no-such-run", fmt::format("{}: there is no such run directory", folder.string()));
  if (is_run_directory(folder)) return;
  throw ConfigError("not-a-run-directory",
                    fmt::format("{}: not a run directory: it has neither the config.yaml of a run nor a task's manifest{}",
                                folder.string(), hint_for(folder)));
}

}  // namespace dmoerm::report
