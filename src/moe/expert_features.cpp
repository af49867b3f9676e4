#include "moe/expert_features.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "nn/pairwise_loss.h"

namespace dmoerm::moe {

at::Tensor ExpertFeatures::all_rewards() const {
  return base_N.defined() ? at::cat({rewards_NK, base_N.unsqueeze(1)}, 1) : rewards_NK;
}

ExpertFeatures ExpertFeatures::responses(std::int64_t first, std::int64_t count) const {
  const auto part = [&](const at::Tensor& all) { return all.defined() ? all.narrow(0, first, count) : all; };
  return {states_NKH.part(first, count), part(rewards_NK), {}, part(base_N), part(length_N), prompts_GH};
}

at::Tensor spread_within_groups(const at::Tensor& rewards_NK, const std::vector<ExpertFeatures::Group>& groups) {
  at::Tensor squares_K = at::zeros({rewards_NK.size(1)}, at::kDouble);
  std::int64_t freedom = 0;
  for (const ExpertFeatures::Group& group : groups) {
    const at::Tensor own_NK = rewards_NK.narrow(0, group.first, group.count).to(at::kDouble);
    if (group.count < 2) continue;
    squares_K += (own_NK - own_NK.mean(0)).square().sum(0);
    freedom += group.count - 1;
  }
  if (freedom == 0) return at::ones({rewards_NK.size(1)});
  return (squares_K / static_cast<double>(freedom)).sqrt().to(at::kFloat);
}

double pair_accuracy(const at::Tensor& rewards_N, const std::vector<ExpertFeatures::Group>& groups) {
  const at::Tensor local = rewards_N.detach().contiguous();
  double right = 0, pairs = 0;
  for (const ExpertFeatures::Group& g : groups) {
    right += nn::pairs_right({local.const_data_ptr<float>() + g.first, static_cast<std::size_t>(g.count)}, g.pairs);
    pairs += static_cast<double>(g.pairs.size());
  }
  return pairs > 0 ? right / pairs : 0.5;
}

}  // namespace dmoerm::moe
