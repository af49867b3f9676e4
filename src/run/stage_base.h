// The stages of phase 1: a category's base, and the baselines, which are phase 1 on other groups.
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that decide a phase-1 model, beside those of every task. @param steps  most updates
nlohmann::json base_settings(const config::RunConfig& config, std::int64_t steps);

/// Train one reward model on overall preferences. Collective over the group; its first rank writes.
/// @param category   -1: all categories
/// @param steps_max  0: as configured
void run_base(RunContext& context, const std::string& task, std::int32_t category, train::Subset subset, std::int64_t steps_max,
              const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
