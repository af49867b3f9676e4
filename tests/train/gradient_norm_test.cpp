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
    const at::Tensor part = gradient.narrow(0, 0, size), ours = block_squares({part}), chunks = block_squares_in_chunks({part});
    ASSERT_EQ(ours.sizes(), chunks.sizes()) << size;
    EXPECT_TRUE(ours.allclose(chunks, 1e-12, 0)) << size;
  }
}

TEST(GradientNorm, BuffersThatShareAChunkHaveTheSquaresThatEachHasAlone) {
  at::manual_seed(4);
  // Small ones, one that ends in the next chunk, and one that fills a chunk and more.
  const std::vector<at::Tensor> gradients = {at::randn({3}),
                                             at::randn({0}),
                                             at::randn({kNormBlock + 1}),
                                             at::randn({(kNormBlock - 2) * kNormBlock + 7}),
                                             at::randn({kNormBlock * kNormBlock + 5}),
                                             at::randn({kNormBlock})};
  std::vector<at::Tensor> alone;
  for (const at::Tensor& gradient : gradients) alone.push_back(block_squares_in_chunks({gradient}));
  EXPECT_TRUE(at::equal(block_squares_in_chunks(gradients), at::cat(alone)));
}

}  // namespace
}  // namespace dmoerm::train
