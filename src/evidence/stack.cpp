#include "evidence/stack.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "moe/expert_features.h"

namespace dmoerm::evidence {

at::Tensor standardised(const at::Tensor& reward_N, const std::vector<moe::ExpertFeatures::Group>& groups) {
  return reward_N / moe::spread_within_groups(reward_N.unsqueeze(1), groups).to(at::kDouble).clamp_min(1e-9);
}

Stack fit_stack(const std::vector<at::Tensor>& columns, const std::vector<double>& target, const LabelledGroups& labelled) {
  const at::Tensor z_NK = at::stack(columns, 1);
  const at::Tensor target_K = at::tensor(at::ArrayRef<double>(target), at::TensorOptions().dtype(at::kDouble));
  // How far apart the target's rewards should be, given how noisy these labels are.
  const moe::PairDifferences along = moe::pair_differences(at::mv(z_NK, target_K).unsqueeze(1), labelled.groups);
  const double scale = std::max(0.02, best_scale(along));
  const moe::RidgeChoice choice = moe::choose_ridge(moe::pair_differences(z_NK, labelled.groups), {.towards_F = target_K * scale},
                                                    {300, 100, 30, 10, 3, 1, 0.3});
  const double loss = choice.held_out_loss.empty() ? 0 : std::ranges::min(choice.held_out_loss);
  return {at::mv(z_NK, choice.weight_F), choice.weight_F, loss};
}

}  // namespace dmoerm::evidence
