// The stages of phase 1: the bases of categories and what they start from, the single model, and the baselines, which train on
// other groups.
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect a phase-1 model, besides those of every task. @param steps  most updates
nlohmann::json base_settings(const config::RunConfig& config, const plan::TaskId& task, std::int64_t steps);

/// Train one reward model on the overall preferences of the task's category, or of all if it has none, and on the pairs of points
/// that plan::point_labels_of() names, from the weights of plan::starts_from(). Collective over `ranks`; the first of them
/// writes.
/// @param steps_max  most updates; 0 = as configured
void run_base(RunContext& context, const plan::TaskId& task, train::Subset subset, std::int64_t steps_max,
              const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
