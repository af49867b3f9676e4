#include "nn/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "nn/adamw_fused.h"
#include "nn/safetensors.h"
#include "support/shared.h"

namespace dmoerm::nn {
namespace {

const std::filesystem::path kStep = test::golden("train/step.safetensors");

TEST(GoldenAdamW, GivesThePytorchParametersAfterThreeSteps) {
  DMOERM_NEEDS(kStep);
  const auto file = SafetensorsReader::open(kStep);
  const AdamWOptions options{.weight_decay = 0.01};
  int checked = 0;
  for (const std::string& name : file.names()) {
    if (!name.starts_with("init.")) continue;
    const std::string parameter = name.substr(5);
    const std::vector<at::Tensor> values = {file.load(name).flatten()};
    AdamW optimizer(values, options);
    for (int step = 0; step < 3; ++step) {
      const std::string at = "step" + std::to_string(step);
      optimizer.step(values, {file.load(at + ".grad." + parameter).flatten()}, 0.01, step + 1, 1.0);
      const at::Tensor expected = file.load(at + ".param." + parameter).flatten();
      EXPECT_LT((values[0] - expected).abs().max().item<double>(), 2e-6) << name << " step " << step;
    }
    ++checked;
  }
  EXPECT_EQ(checked, 9);
}

TEST(AdamW, BothWaysOfTheFirstMomentAreOneMeanButForRounding) {
  at::manual_seed(3);
  const at::Tensor start = at::randn({4, 5});
  const std::vector<at::Tensor> a = {start.clone(), at::ones({2})}, b = {start.clone(), at::ones({2})};
  AdamWOptions summed{.weight_decay = 0.1, .first_moment = FirstMoment::summed};
  AdamW one(a, {.weight_decay = 0.1}), two(b, summed);
  for (int step = 1; step <= 20; ++step) {
    const at::Tensor g = at::randn({4, 5});
    one.step(a, {g, {}}, 0.01, step, 0.5);
    two.step(b, {g, {}}, 0.01, step, 0.5);
  }
  EXPECT_TRUE(a[0].allclose(b[0], 1e-5, 1e-6));
  EXPECT_GT((a[0] - start).abs().max().item<double>(), 0.01);
  EXPECT_TRUE(a[1].equal(at::ones({2})) && b[1].equal(at::ones({2}))) << "a parameter without a gradient stays";
}

TEST(AdamW, TheFusedUpdateOfGpusIsTheSameButForRounding) {
  at::manual_seed(4);
  const at::Tensor start = at::randn({3, 7});
  const std::vector<at::Tensor> p = {start.clone(), at::ones({2})}, q = {start.clone(), at::ones({2})};
  const std::vector<std::vector<Elements>> undecayed = {{{4, 9}}, {}};
  AdamW plain(p, {.weight_decay = 0.1}, undecayed), fused(q, {.weight_decay = 0.1, .fused = true}, undecayed);
  for (int step = 1; step <= 20; ++step) {
    const at::Tensor g = at::randn({3, 7});
    const double scale = step % 2 == 0 ? 0.5 : 1.0;
    plain.step(p, {g, {}}, 0.01, step, scale);
    fused.step(q, {g.clone(), {}}, 0.01, step, scale);
  }
  EXPECT_TRUE(p[0].allclose(q[0], 1e-5, 1e-6));
  EXPECT_TRUE(plain.first[0].allclose(fused.first[0], 1e-5, 1e-6) && plain.second[0].allclose(fused.second[0], 1e-5, 1e-6));
  EXPECT_GT((p[0] - start).abs().max().item<double>(), 0.01);
  EXPECT_TRUE(q[1].equal(at::ones({2}))) << "a parameter without a gradient stays";
}

TEST(AdamW, TreatsTheClippingScaleLikeSmallerGradients) {
  const std::vector<at::Tensor> a = {at::ones({5})}, b = {at::ones({5})};
  AdamW one(a, {}), two(b, {});
  at::manual_seed(1);
  const at::Tensor g = at::randn({5});
  one.step(a, {g}, 0.1, 1, 0.25);
  two.step(b, {g * 0.25}, 0.1, 1, 1.0);
  EXPECT_TRUE(a[0].equal(b[0]));
}

TEST(AdamW, DecaysWhatIsNeitherNormNorBias) {
  const AdamWOptions options{.weight_decay = 0.5};
  const std::vector<at::Tensor> values = {at::ones({6}), at::ones({2})};
  AdamW optimizer(values, options, {{{1, 3}, {5, 6}}});
  optimizer.step(values, {at::zeros({6}), at::zeros({2})}, 0.1, 1, 1.0);
  EXPECT_TRUE(values[0].allclose(at::tensor({0.95F, 1.0F, 1.0F, 0.95F, 0.95F, 1.0F})));
  EXPECT_TRUE(values[1].allclose(at::tensor({0.95F, 0.95F})));
}

}  // namespace
}  // namespace dmoerm::nn
