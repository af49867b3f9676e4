#include "moe/expert_features.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <map>

#include "nn/pairwise_loss.h"

namespace dmoerm::moe {

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

std::vector<std::vector<std::size_t>> groups_of_prompts(const std::vector<ExpertFeatures::Group>& groups) {
  std::vector<std::vector<std::size_t>> prompts;
  std::map<std::int64_t, std::size_t> place;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].pairs.empty()) continue;
    const std::int64_t prompt = groups[g].prompt;
    const bool is_new = prompt < 0 || place.try_emplace(prompt, prompts.size()).second;
    if (is_new) prompts.emplace_back();
    (is_new ? prompts.back() : prompts[place[prompt]]).push_back(g);
  }
  return prompts;
}

}  // namespace dmoerm::moe
