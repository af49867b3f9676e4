// States of texts: the same bits alone and beside others; on a GPU, where the order of a product's sums depends on its rows, the
// same but for rounding.
#include "moe/token_texts.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/expert.h"
#include "support/tiny_backbone.h"

namespace dmoerm::moe {
namespace {

using Ids = std::vector<std::int32_t>;

class StatesOfTexts : public testing::TestWithParam<std::int64_t> {
 protected:
  StatesOfTexts() {
    nn::BackboneSpec spec = test::tiny_spec(50);
    spec.width = spec.intermediate = 64, spec.heads = spec.kv_heads = 2, spec.head_dim = 32;
    backbone_ = test::random_backbone(spec);
    at::manual_seed(4);
    for (int e = 0; e < 3; ++e) {
      experts_.push_back(std::make_unique<test::Expert>(backbone_->spec(), nn::LoraSpec{3, 6.0, 0.0}));
      at::Tensor flat = experts_.back()->adapter.flat;
      flat.copy_(at::randn(flat.sizes()) * 0.3);
    }
  }
  [[nodiscard]] at::Tensor states(const std::vector<Ids>& responses) const {
    TokenTexts texts{prompt_, {}};
    for (const Ids& own : responses) {
      texts.responses.push_back(prompt_);
      texts.responses.back().insert(texts.responses.back().end(), own.begin(), own.end());
    }
    std::vector<const nn::LoraAdapter*> adapters;
    for (const auto& expert : experts_) adapters.push_back(&expert->adapter);
    return PackedTexts(texts, *backbone_, {{100, 4, 1}, GetParam()}).states(adapters);
  }
  [[nodiscard]] bool same(const at::Tensor& a, const at::Tensor& b) const {
    return backbone_->device().is_cuda() ? a.allclose(b, 1e-4, 1e-4) : a.equal(b);
  }
  std::shared_ptr<nn::Backbone> backbone_;
  std::vector<std::unique_ptr<test::Expert>> experts_;
  Ids prompt_ = {1, 7, 9, 30, 12, 5};
};

TEST_P(StatesOfTexts, HaveTheSameBitsAloneAndInAnyCompany) {
  const std::vector<Ids> responses = {
      {8, 8, 3}, {8, 8, 4, 4, 4}, {2}, {8, 8, 3}, {8}, {40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 3, 2, 1}};
  const at::Tensor together = states(responses);
  for (std::size_t i = 0; i < responses.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    EXPECT_TRUE(same(states({responses[i]})[0], together[row])) << "alone, response " << i;
    EXPECT_TRUE(same(states({responses[5], responses[i]})[1], together[row])) << "beside another, response " << i;
  }
  EXPECT_FALSE(together[0].equal(together[1]));
}

INSTANTIATE_TEST_SUITE_P(BatchTokens, StatesOfTexts, testing::Values(1, 24, 2048));

}  // namespace
}  // namespace dmoerm::moe
