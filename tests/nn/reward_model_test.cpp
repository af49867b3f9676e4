#include "nn/reward_model.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "support/scratch.h"
#include "support/tiny_backbone.h"

namespace dmoerm::nn {
namespace {

class RewardModelFolder : public test::Scratch {
 protected:
  [[nodiscard]] BackboneSource source() const {
    return {[this] { return shared_; }, [] { return test::tiny_backbone(40); }};
  }
  [[nodiscard]] std::string refusal() const {
    return test::message_of<DataError>([&] { RewardModel::load(directory_, source()); });
  }
  std::shared_ptr<Backbone> shared_ = test::tiny_backbone(40);
};

TEST_F(RewardModelFolder, LoadsTheBackboneAndTheHeadThatItSaved) {
  const RewardModel saved(test::tiny_backbone(40));
  for (at::Tensor part : saved.trained_slices()) part.copy_(at::randn(part.sizes()));
  saved.save(directory_);
  const RewardModel loaded = RewardModel::load(directory_, source());
  EXPECT_EQ(loaded.adapter(), nullptr);
  EXPECT_TRUE(loaded.head().w_D.equal(saved.head().w_D));
  const NamedTensors &ours = loaded.backbone().weights().named(), &theirs = saved.backbone().weights().named();
  for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(ours[i].second.equal(theirs[i].second)) << ours[i].first;
}

TEST_F(RewardModelFolder, RefusesATensorOfAnotherShapeInsteadOfRepeatingIt) {
  NamedTensors tensors = test::tiny_backbone(40)->weights().named();
  tensors.emplace_back("score.weight", at::ones({1}));  // a plain copy would fill the whole head with it
  save_safetensors(directory_ / "model.safetensors", tensors);
  EXPECT_NE(refusal().find("tensor score.weight has shape [1], the model requires [24]"), std::string::npos) << refusal();
}

TEST_F(RewardModelFolder, RefusesAFolderThatHoldsNoModel) {
  EXPECT_NE(refusal().find("this is not a reward model"), std::string::npos) << refusal();
}

}  // namespace
}  // namespace dmoerm::nn
