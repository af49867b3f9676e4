// A backbone with weights in eight bits: states near those in float32, steady bits, and a backward pass that reads float32.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/error.h"
#include "nn/backbone.h"
#include "support/expert.h"
#include "support/tiny_backbone.h"

namespace dmoerm::nn {
namespace {

using test::Expert;

BackboneSpec spec_of(Family family) {
  BackboneSpec spec = test::tiny_spec(50);
  spec.width = 32, spec.head_dim = 8, spec.family = family;
  if (family == Family::bert) {
    spec.kv_heads = spec.heads, spec.type_vocab = 2;
    spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
  }
  return spec;
}

std::vector<std::int32_t> ids_from(std::int32_t first, std::size_t count) {
  std::vector<std::int32_t> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

data::PackedBatch batch_of(const std::vector<std::vector<std::int32_t>>& texts, const Backbone& backbone) {
  data::PackedBatch batch;
  for (const auto& ids : texts) data::append_sequence(batch, ids, backbone.packing());
  return batch;
}

class Int8BackboneOf : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (test::test_device().is_cuda()) GTEST_SKIP() << "int8 weights are for the CPU";
    expert_.flat.copy_(at::randn(expert_.flat.sizes()) * 0.1);
  }
  /// Final states of texts under the adapter.
  at::Tensor states(const std::vector<std::vector<std::int32_t>>& texts, ForwardState* keep = nullptr) const {
    const data::PackedBatch batch = batch_of(texts, *backbone_);
    const AdapterRows rows{&expert_.adapter, 0, batch.tokens(), 0, std::ssize(batch.responses), 0};
    return backbone_->forward(batch, {&rows, 1}, keep);
  }
  std::shared_ptr<Backbone> backbone_ = test::random_backbone(spec_of(GetParam()));
  Expert expert_{backbone_->spec(), {4, 8.0, 0.0}};
};

TEST_P(Int8BackboneOf, GivesStatesNearThoseOfFloat32WithTheSameBitsInAnyCompany) {
  const std::vector<std::vector<std::int32_t>> texts = {ids_from(0, 20), ids_from(7, 1), ids_from(3, 31)};
  const at::Tensor exact = states(texts);
  EXPECT_EQ(backbone_->base_weights(), BaseWeights::float32);
  backbone_->use(BaseWeights::int8);
  EXPECT_EQ(backbone_->base_weights(), BaseWeights::int8);
  const at::Tensor got = states(texts);
  EXPECT_LT(((got - exact).norm() / exact.norm()).item<double>(), 0.05);
  EXPECT_FALSE(got.equal(exact));
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_TRUE(states({texts[i]})[0].equal(got[static_cast<std::int64_t>(i)])) << i;
}

TEST_P(Int8BackboneOf, TrainsAnAdapterOnItsOwnStatesWithFloat32Gradients) {
  const std::vector<std::vector<std::int32_t>> texts = {ids_from(0, 20), ids_from(3, 31)};
  const auto gradient = [&](at::Tensor& seen) {
    ForwardState keep;
    seen = states(texts, &keep);
    Expert sink(backbone_->spec(), expert_.adapter.lora());
    backbone_->backward(at::ones_like(seen), keep, {nullptr, {&sink.adapter}});
    return sink.flat;
  };
  at::Tensor exact_states, int8_states;
  const at::Tensor exact = gradient(exact_states);
  backbone_->use(BaseWeights::int8);
  const at::Tensor got = gradient(int8_states);
  EXPECT_LT(((got - exact).norm() / exact.norm()).item<double>(), 0.1);
  EXPECT_LT(((int8_states - states(texts)).norm() / int8_states.norm()).item<double>(), 1e-5) << "training and scoring agree";
}

INSTANTIATE_TEST_SUITE_P(Families, Int8BackboneOf, testing::Values(Family::llama, Family::bert),
                         [](const auto& named) { return named.param == Family::bert ? "bert" : "llama"; });

TEST(Int8Backbone, SaysWhereThereAreNoInt8Weights) {
  EXPECT_NO_THROW(Backbone::expect_int8_possible("m", at::kCPU, at::kFloat));
  for (const auto& [device, dtype, said] : {std::tuple{at::Device(at::kCPU), at::kBFloat16, "bfloat16 on cpu"},
                                            {at::Device(at::kCUDA, 0), at::kFloat, "float32 on cuda:0"}}) {
    try {
      Backbone::expect_int8_possible("my/bundle", device, dtype);
      FAIL() << said;
    } catch (const ConfigError& e) {
      EXPECT_EQ(e.code().text(), "int8-not-possible");
      EXPECT_NE(std::string(e.what()).find(said), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace dmoerm::nn
