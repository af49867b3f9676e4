// One line = one event, "[module] key=value ...", on stderr; results go to stdout.
#pragma once
#include <spdlog/spdlog.h>

namespace dmoerm {

/// Set up the process's log at `level` ("debug", "info", "warn", "error"). Of a group of ranks only the first speaks: callers see
/// to that.
/// @param rank  number of the process, shown in its lines when the world has more than one
void init_log(int rank, int world_size, const std::string& level);

}  // namespace dmoerm
