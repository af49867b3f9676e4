// The stage of phase 2: experts of a category that step together over its frozen base.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that decide a set of experts, beside those of every task.
nlohmann::json expert_settings(const config::RunConfig& config, const config::CategoryConfig& category);

/// Train the experts of a set of points, `first_point` on. Collective over the group; its first rank writes.
void run_experts(RunContext& context, const std::string& task, std::int32_t category, std::size_t first_point, std::size_t points,
                 const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
