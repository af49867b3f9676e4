// How much of a reward is length: what the gate takes out of the experts' rewards before it mixes them (arXiv 2406.12845).
#pragma once
#include <span>
#include <vector>

#include "moe/expert_features.h"

namespace dmoerm::moe {

/// The smallest share p for which value - p * length no longer grows with the length: Spearman's correlation of the two, both
/// less their means over the group, is at most 0.03. 0 if it does not grow at all, 1 if no share is enough.
/// @param values, lengths  of all responses; standardised alike
/// @param groups  groups to look at, of two responses or more
double length_share(std::span<const float> values, std::span<const float> lengths,
                    const std::vector<ExpertFeatures::Group>& groups);

}  // namespace dmoerm::moe
