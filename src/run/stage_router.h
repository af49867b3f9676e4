// The stage "router": fits the linear head that picks a prompt's category.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect the router, besides those of every task.
nlohmann::json router_settings(const config::RunConfig& config);

/// Fit the router on pooled base states of the train prompts, and calibrate it on the validation prompts. Collective over
/// `ranks`; only the first of them works.
void run_router(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks);

/// Pooled base states of the groups' prompts, one row each.
at::Tensor pooled_prompts(RunContext& context, const std::vector<std::int64_t>& groups);

}  // namespace dmoerm::run
