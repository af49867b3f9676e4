#include "train/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "nn/safetensors.h"
#include "support/shared.h"

namespace dmoerm::train {
namespace {

const std::filesystem::path kStep = test::golden("train/step.safetensors");

TEST(GoldenAdamW, GivesThePytorchParametersAfterThreeSteps) {
  DMOERM_NEEDS(kStep);
  const auto file = nn::SafetensorsReader::open(kStep);
  config::TrainConfig config;
  config.lr = 0.01;
  config.weight_decay = 0.01;
  int checked = 0;
  for (const std::string& name : file.names()) {
    if (!name.starts_with("init.")) continue;
    const std::string parameter = name.substr(5);
    const std::vector<at::Tensor> values = {file.load(name).flatten()};
    AdamW optimizer(values, config);
    for (int step = 0; step < 3; ++step) {
      const std::string at = "step" + std::to_string(step);
      optimizer.step(values, {file.load(at + ".grad." + parameter).flatten()}, config.lr, step + 1, 1.0);
      const at::Tensor expected = file.load(at + ".param." + parameter).flatten();
      EXPECT_LT((values[0] - expected).abs().max().item<double>(), 2e-6) << name << " step " << step;
    }
    ++checked;
  }
  EXPECT_EQ(checked, 9);
}

TEST(AdamW, TreatsTheClippingScaleLikeSmallerGradients) {
  config::TrainConfig config;
  const std::vector<at::Tensor> a = {at::ones({5})}, b = {at::ones({5})};
  AdamW one(a, config), two(b, config);
  at::manual_seed(1);
  const at::Tensor g = at::randn({5});
  one.step(a, {g}, 0.1, 1, 0.25);
  two.step(b, {g * 0.25}, 0.1, 1, 1.0);
  EXPECT_TRUE(a[0].equal(b[0]));
}

TEST(AdamW, DecaysWhatIsNeitherNormNorBias) {
  config::TrainConfig config;
  config.weight_decay = 0.5;
  const std::vector<at::Tensor> values = {at::ones({6}), at::ones({2})};
  AdamW optimizer(values, config, {{{1, 3}, {5, 6}}});
  optimizer.step(values, {at::zeros({6}), at::zeros({2})}, 0.1, 1, 1.0);
  EXPECT_TRUE(values[0].allclose(at::tensor({0.95F, 1.0F, 1.0F, 0.95F, 0.95F, 1.0F})));
  EXPECT_TRUE(values[1].allclose(at::tensor({0.95F, 0.95F})));
}

TEST(GradientNorm, IsTheEuclideanNormOverAllBuffers) {
  at::manual_seed(2);
  const at::Tensor a = at::randn({10000}), b = at::randn({3});
  const double expected = at::cat({a, b}).to(at::kDouble).norm().item<double>();
  EXPECT_NEAR(gradient_norm({a, b}), expected, 1e-9 * expected);
  EXPECT_TRUE(std::isnan(gradient_norm({a, at::full({1}, std::nan(""))})));
}

TEST(LearningRate, FollowsItsScheduleAfterTheWarmUp) {
  config::TrainConfig config;
  config.lr = 1.0;
  config.warmup_steps = 4;
  EXPECT_DOUBLE_EQ(learning_rate(config, 0, 100), 0.25);
  EXPECT_DOUBLE_EQ(learning_rate(config, 3, 100), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 99, 100), 1.0);
  config.schedule = config::Schedule::linear;
  EXPECT_DOUBLE_EQ(learning_rate(config, 52, 100), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 100, 100), 0.0);
  config.schedule = config::Schedule::cosine;
  EXPECT_NEAR(learning_rate(config, 52, 100), 0.5, 1e-12);
  EXPECT_NEAR(learning_rate(config, 28, 100), 0.5 * (1 + std::cos(std::acos(-1.0) / 4)), 1e-12);
}

}  // namespace
}  // namespace dmoerm::train
