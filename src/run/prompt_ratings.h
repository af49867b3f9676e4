// How well each category's overall model orders the pairs of prompts that it was not trained on, from which a router may learn
// (router.kind: reward).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "comm/communicator.h"
#include "run/run_context.h"
#include "run/task_parts.h"

namespace dmoerm::run {

/// Mean log-likelihood of a group's overall pairs under the model of phase 1 of each category, by the group's index.
using PromptRatings = std::map<std::int64_t, std::vector<double>>;

/// Rate the groups of the validation split and those of phase 3; with folds the groups of each fold, by the bases that were
/// trained without it. Only groups with overall pairs are rated. Collective over `ranks`, which share the groups out; every rank
/// gets all ratings. @param parts  where the first rank keeps what is rated
/// @throws Stopped on a signal
PromptRatings rate_prompts(RunContext& context, TaskParts& parts, comm::Communicator& ranks);

/// Ratings of some groups, [N, C], float64; NaN for groups that are not rated.
at::Tensor ratings_of(const PromptRatings& ratings, const std::vector<std::int64_t>& groups, std::int64_t categories);

}  // namespace dmoerm::run
