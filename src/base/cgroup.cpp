#include "base/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace dmoerm {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kNoLimit = std::int64_t{1} << 60;  // cgroup v1 writes a number near 2^63 where there is no limit
const fs::path kRoot = "/sys/fs/cgroup";

std::string membership() {
  std::ifstream file("/proc/self/cgroup");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::optional<std::int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::string text;
  std::int64_t number = 0;
  if (!(file >> text)) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number >= kNoLimit) return std::nullopt;  // also "max"
  return number;
}

/// The folder of a line of /proc/self/cgroup and the folders above it, up to `top`.
std::vector<fs::path> folders_of(const fs::path& top, const std::string& group) {
  std::vector<fs::path> folders;
  for (fs::path folder = fs::path(group).relative_path();; folder = folder.parent_path()) {
    folders.push_back(top / folder);
    if (folder.empty()) return folders;
  }
}

/// The group of this process: that of `controller` under cgroup v1, or of cgroup v2 if it is empty.
std::optional<std::string> group_of(const std::string& membership, const std::string& controller) {
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // "4:memory:/slurm/job_7" or "0::/user.slice"
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controller.empty() ? names == ",," : names.find("," + controller + ",") != std::string::npos)
      return line.substr(second + 1);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> cgroup_limit_in(const fs::path& root, const std::string& membership, const std::string& unified,
                                            const std::string& separate) {
  std::optional<std::int64_t> smallest;
  const auto look = [&](const fs::path& top, const std::optional<std::string>& group, const std::string& file) {
    if (!group) return;
    for (const fs::path& folder : folders_of(top, *group)) {
      if (const auto limit = number_in(folder / file)) smallest = std::min(smallest.value_or(*limit), *limit);
    }
  };
  const auto slash = separate.find('/');
  const std::string controller = separate.substr(0, slash);
  look(root, group_of(membership, ""), unified);
  look(root / "unified", group_of(membership, ""), unified);
  look(root / controller, group_of(membership, controller), separate.substr(slash + 1));
  return smallest;
}

std::optional<std::int64_t> cgroup_limit(const std::string& unified, const std::string& separate) {
  return cgroup_limit_in(kRoot, membership(), unified, separate);
}

}  // namespace dmoerm
