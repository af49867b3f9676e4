// The weighted sum of rewards that the stack is. Shapes: N responses, K rewards.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "evidence/heads.h"

namespace dmoerm::evidence {

/// Rewards [N] divided by their spread within the groups, float64.
at::Tensor standardised(const at::Tensor& reward_N, const std::vector<moe::ExpertFeatures::Group>& groups);

/// Rewards weighted by a ridge regression that shrinks to a target, for the strength that predicts groups left out best.
struct Stack {
  at::Tensor reward_N, weight_K;  ///< float64
  double loss = 0;                ///< Of a group left out; 0 if all are of one block
};
/// @param columns  K rewards [N] each, float64, with the same spread  @param target  the K weights that it shrinks to, up to a
/// factor
/// @param labelled  groups whose pairs it is fitted to
Stack fit_stack(const std::vector<at::Tensor>& columns, const std::vector<double>& target, const LabelledGroups& labelled);

}  // namespace dmoerm::evidence
