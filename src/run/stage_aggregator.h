// The stage of phase 3: the aggregators of a category and the choice between them.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that decide the aggregators, beside those of every task.
nlohmann::json aggregator_settings(const config::RunConfig& config);

/// Fit mean, linear and MLP aggregators on the cached features, and choose one. Collective over the group; its first rank works
/// and writes.
void run_aggregator(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
                    comm::Communicator& ranks);

/// Mean and deviation of rewards [N], with which scores can be normalised: {"mean", "std", "count"}.
nlohmann::json score_statistics(const at::Tensor& rewards_N);

}  // namespace dmoerm::run
