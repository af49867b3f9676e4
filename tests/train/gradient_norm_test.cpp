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

TEST(GradientNorm, TheWayOfGpusGivesTheSameSquares) {
  at::manual_seed(3);
  const at::Tensor gradient = at::randn({kNormBlock * kNormBlock + kNormBlock + 1});  // one chunk, a block and a number
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{1}, kNormBlock, kNormBlock + 1, gradient.numel()}) {
    const at::Tensor part = gradient.narrow(0, 0, size), ours = block_squares(part), chunks = block_squares_in_chunks(part);
    ASSERT_EQ(ours.sizes(), chunks.sizes()) << size;
    EXPECT_TRUE(ours.allclose(chunks, 1e-12, 0)) << size;
  }
}

}  // namespace
}  // namespace dmoerm::train
