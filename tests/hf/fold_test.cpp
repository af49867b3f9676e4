#include "hf/fold.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "moe/model.h"
#include "support/tiny_backbone.h"

namespace dmoerm::hf {
namespace {

TEST(Fold, FoldedWeightsGiveTheAdaptersRewards) {
  const auto backbone = test::tiny_backbone(40);
  nn::RewardModel expert(backbone, {.rank = 3, .alpha = 5, .first_layer = 1});
  at::manual_seed(2);
  expert.trained_slices().front().copy_(at::randn_like(expert.trained_slices().front()) * 0.3);
  nn::RewardModel folded(std::make_shared<nn::Backbone>(backbone->spec(), fold(*backbone, expert.adapter())));
  folded.head().w_D.copy_(expert.head().w_D);
  nn::RewardModel plain(backbone);
  plain.head().w_D.copy_(expert.head().w_D);
  const moe::TokenTexts texts{{1, 2, 3}, {{1, 2, 3, 4, 5}, {1, 2, 3, 9}}};
  const moe::ScoringLimits limits{{.max_length = 64}};
  const at::Tensor wanted = moe::rewards_of(expert, texts, limits);
  EXPECT_TRUE(at::allclose(moe::rewards_of(folded, texts, limits), wanted, 1e-4, 1e-5));
  EXPECT_FALSE(at::allclose(moe::rewards_of(plain, texts, limits), wanted, 1e-2, 1e-2)) << "the adapter changes something";
}

}  // namespace
}  // namespace dmoerm::hf
