#include "nn/product_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace dmoerm::nn {
namespace {

struct Shape {
  std::int64_t m, k, n;
};
// With full and partial tiles, strips and blocks, and each side thin in turn.
const std::vector<Shape> kShapes = {{1, 1, 16},    {5, 32, 576}, {1672, 576, 64}, {64, 301, 576},
                                    {192, 77, 32}, {13, 0, 48},  {601, 32, 208}};

double largest_error(const at::Tensor& found, const at::Tensor& expected) {
  return (found.to(at::kDouble) - expected).abs().max().item<double>();
}

TEST(ProductCpu, MultipliesMatricesOfAnyStrides) {
  for (const auto& [m, k, n] : kShapes) {
    const at::Tensor a = at::randn({m, k}), b = at::randn({k, n}), c = at::randn({m, n});
    const at::Tensor wide = at::randn({m, n + 48}), turned_a = a.t().contiguous().t(), turned_b = b.t().contiguous().t();
    const at::Tensor product = at::mm(a.to(at::kDouble), b.to(at::kDouble));
    const double bound = 1e-6 * (static_cast<double>(k) + 1.0);
    for (const at::Tensor& left : {a, turned_a}) {
      for (const at::Tensor& right : {b, turned_b}) {
        ASSERT_TRUE(cpu::takes_product(c, left, right));
        const at::Tensor fresh = at::randn({m, n}), sum = c.clone(), copy = wide.clone(), part = copy.narrow(1, 16, n);
        cpu::product(fresh, left, right, 0.5F, false);
        EXPECT_LT(largest_error(fresh, 0.5 * product), bound) << m << " " << k << " " << n;
        cpu::product(sum, left, right, 2.0F, true);
        EXPECT_LT(largest_error(sum, c.to(at::kDouble) + 2 * product), 4 * bound);
        cpu::product(part, left, right, 1.0F, true);
        EXPECT_LT(largest_error(part, wide.narrow(1, 16, n).to(at::kDouble) + product), 4 * bound);
        EXPECT_TRUE(at::equal(copy.narrow(1, 0, 16), wide.narrow(1, 0, 16))) << "columns beside it stay";
      }
    }
  }
}

TEST(ProductCpu, GivesARowTheSameBitsWhateverIsBesideIt) {
  const at::Tensor a = at::randn({101, 576}), b = at::randn({64, 576}).t(), whole = at::randn({101, 64});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  cpu::product(whole, a, b, 1.0F, false);
  at::set_num_threads(4);
  for (const std::int64_t first : {0, 1, 50, 97}) {
    for (const std::int64_t count : {1, 2, 3, 4}) {
      const at::Tensor part = at::randn({count, 64});
      cpu::product(part, a.narrow(0, first, count), b, 1.0F, false);
      EXPECT_TRUE(at::equal(part, whole.narrow(0, first, count))) << first << " " << count;
    }
  }
  const at::Tensor again = at::randn({101, 64});
  cpu::product(again, a, b, 1.0F, false);
  EXPECT_TRUE(at::equal(again, whole)) << "four threads";
  at::set_num_threads(threads);
}

TEST(ProductCpu, LeavesOtherMatricesToTheBlas) {
  const at::Tensor a = at::randn({4, 8}), b = at::randn({8, 20});
  EXPECT_FALSE(cpu::takes_product(at::randn({4, 20}), a, b)) << "20 columns fill no registers of 16";
  EXPECT_FALSE(cpu::takes_product(at::randn({32, 4}).t(), a, at::randn({8, 32}))) << "its columns are not adjacent";
  EXPECT_FALSE(cpu::takes_product(at::randn({4, 32}).to(at::kBFloat16), a, at::randn({8, 32})));
}

}  // namespace
}  // namespace dmoerm::nn
