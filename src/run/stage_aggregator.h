// The stage "aggregator", phase 3: fits the aggregators of a category and chooses one.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "comm/communicator.h"
#include "moe/expert_features.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect the aggregators, besides those of every task.
nlohmann::json aggregator_settings(const config::RunConfig& config);

/// Fit every kind of aggregator on the cached features, and choose one. Collective over `ranks`; only the first of them
/// works.
void run_aggregator(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks);

/// Mean of rewards [N] and their deviation within groups, to normalise scores: {"mean", "std", "count"}.
nlohmann::json score_statistics(const at::Tensor& rewards_N, const std::vector<moe::ExpertFeatures::Group>& groups);

}  // namespace dmoerm::run
