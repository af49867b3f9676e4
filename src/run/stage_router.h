// The stage "router": fits what picks a prompt's category.
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
/// `ranks`, which share the prompts, and what the categories' bases say of them if the router learns from rewards; only the first
/// of them fits. The states are on disk and not in memory. A stop keeps what was rated, pooled and fitted, and the next call goes
/// on from there. @throws Stopped
void run_router(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
