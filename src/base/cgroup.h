// What the control group of this process allows. Batch systems and containers limit memory and processes by control groups.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace dmoerm {

/// The smallest limit that this process's control group and those above it set.
/// @param unified   file of cgroup v2: "memory.max", "pids.max"
/// @param separate  controller and file of cgroup v1: "memory/memory.limit_in_bytes"
/// @return nothing if there is no limit or no control group
std::optional<std::int64_t> cgroup_limit(const std::string& unified, const std::string& separate);

/// As cgroup_limit(), for tests.
/// @param root        folder of the mounted control groups, /sys/fs/cgroup
/// @param membership  what /proc/self/cgroup holds
std::optional<std::int64_t> cgroup_limit_in(const std::filesystem::path& root, const std::string& membership,
                                            const std::string& unified, const std::string& separate);

}  // namespace dmoerm
