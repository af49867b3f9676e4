#include "nn/masked_weights.h"

#include <ATen/ATen.h>

#include "support/scratch.h"
#include "support/tiny_backbone.h"

namespace dmoerm::nn {
namespace {

class MaskedWeights : public test::Scratch {
 protected:
  /// Weights of zeros but for the first places of the final norm.
  static Weights with(const std::vector<float>& places) {
    Weights weights(test::tiny_spec(10));
    for (std::size_t i = 0; i < places.size(); ++i) weights.final_norm_w[static_cast<std::int64_t>(i)] = places[i];
    return weights;
  }
  static std::vector<float> places_of(const Weights& weights) {
    const float* first = weights.final_norm_w.const_data_ptr<float>();
    return {first, first + 6};
  }
};

TEST_F(MaskedWeights, ElectsTheLargestChangeOfTheMeansSignAndRescales) {
  const Weights pretrained = with({}), one = with({1, -2, 0.5, 0, 3, -1}), two = with({2, 1, -0.5, -1, -1, -4});
  const NamedTensors elected = elect(pretrained, {&one, &two});
  const float* norm = elected.back().second.const_data_ptr<float>();
  EXPECT_EQ(std::vector<float>(norm, norm + 6), (std::vector<float>{2, -2, -0.5, -1, 3, -4}));
  const Mask first = mask_of(pretrained, elected, one), second = mask_of(pretrained, elected, two);
  EXPECT_EQ(first.bits.back().second[0].item<int>(), 0b110011);
  EXPECT_EQ(second.bits.back().second[0].item<int>(), 0b101101);
  EXPECT_NEAR(first.scale, 0.68181818, 1e-6);
  EXPECT_NEAR(second.scale, 1.26666667, 1e-6);
  Weights rebuilt = with({});
  apply(first, elected, rebuilt);
  const std::vector<float> found = places_of(rebuilt), wanted = {1.363636F, -1.363636F, 0, 0, 2.045455F, -2.727273F};
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(found[i], wanted[i], 1e-5) << i;
}

TEST_F(MaskedWeights, OneBackboneAloneComesBackAsItWas) {
  const Weights pretrained = with({1, 1, 1}), one = with({1, 3, -2, 0.25});
  const NamedTensors elected = elect(pretrained, {&one});
  const Mask mask = mask_of(pretrained, elected, one);
  EXPECT_DOUBLE_EQ(mask.scale, 1);
  Weights rebuilt = with({1, 1, 1});
  apply(mask, elected, rebuilt);
  EXPECT_TRUE(rebuilt.flat.equal(one.flat));
}

TEST_F(MaskedWeights, ABackboneWithoutChangesHasNoScale) {
  const Weights pretrained = with({1}), one = with({1}), two = with({2});
  const NamedTensors elected = elect(pretrained, {&one, &two});
  EXPECT_EQ(mask_of(pretrained, elected, one).scale, 0);
}

TEST_F(MaskedWeights, IsReadFromTheFoldersThatItWasWrittenTo) {
  const auto pretrained = test::tiny_backbone(10), tuned = test::tiny_backbone(10), other = test::tiny_backbone(10);
  tuned->weights().flat.add_(at::randn_like(tuned->weights().flat) * 0.1);
  other->weights().flat.add_(at::randn_like(tuned->weights().flat) * 0.1);
  const NamedTensors elected = elect(pretrained->weights(), {&tuned->weights(), &other->weights()});
  const Mask mask = mask_of(pretrained->weights(), elected, tuned->weights());
  std::filesystem::create_directories(directory_ / "base" / "chat");
  save_safetensors(directory_ / "base" / "model.safetensors", pretrained->weights().named());
  save_safetensors(directory_ / "base" / kElectedFile, elected);
  const ValueHead head{at::randn({24})};
  save_masked(directory_ / "base" / "chat", mask, tuned->spec(), head, "..");
  const std::optional<Weights> loaded = load_masked(tuned->spec(), directory_ / "base" / "chat", test::test_device(), at::kFloat);
  ASSERT_TRUE(loaded.has_value());
  apply(mask, elected, pretrained->weights());
  EXPECT_TRUE(loaded->flat.equal(pretrained->weights().flat));
  ValueHead read{at::zeros({24})};
  load_stored_head(SafetensorsReader::open_model(directory_ / "base" / "chat"), "", tuned->spec(), read);
  EXPECT_TRUE(read.w_D.equal(head.w_D));
  EXPECT_FALSE(load_masked(tuned->spec(), directory_ / "base", at::kCPU, at::kFloat).has_value());
}

}  // namespace
}  // namespace dmoerm::nn
