// The log on stderr: one line per event, "[module] text". Results go to stdout.
#pragma once
#include <spdlog/spdlog.h>

namespace dmoerm {

/// Set up the log of this process at `level` ("debug", "info", "warn", "error"). Callers make sure that only the first rank of a
/// group logs.
/// @param rank  number of the process, shown in its lines if the world has more than one
void init_log(int rank, int world_size, const std::string& level);

}  // namespace dmoerm
