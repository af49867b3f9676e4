#include "train/gradient_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace dmoerm::train {
namespace {

TEST(GradientNorm, IsTheEuclideanNormOverAllBuffers) {
  at::manual_seed(2);
  const at::Tensor a = at::randn({10000}), b = at::randn({3});
  const double expected = at::cat({a, b}).to(at::kDouble).norm().item<double>();
  EXPECT_NEAR(gradient_norm({a, b}), expected, 1e-9 * expected);
  EXPECT_TRUE(std::isnan(gradient_norm({a, at::full({1}, std::nan(""))})));
}

}  // namespace
}  // namespace dmoerm::train
