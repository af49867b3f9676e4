#include "nn/product_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "nn/ops.h"

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

/// scale a b (+ c) with each number summed as product() promises: over the inner index by fused multiply-adds, in blocks of 384
/// where b has to be copied, and each block's sum added to the number by one more.
at::Tensor summed_in_order(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c, float scale) {
  const std::int64_t inner = a.size(1);
  const bool copied = b.stride(1) != 1 || b.stride(0) > 128;
  const at::Tensor out = c.clone(), left = a.contiguous(), right = b.t().contiguous();
  for (std::int64_t i = 0; i < out.size(0); ++i) {
    for (std::int64_t j = 0; j < out.size(1); ++j) {
      const float *x = left.const_data_ptr<float>() + i * inner, *y = right.const_data_ptr<float>() + j * inner;
      float& number = out.data_ptr<float>()[i * out.size(1) + j];
      for (std::int64_t begin = 0; begin < inner; begin += copied ? 384 : inner) {
        float sum = 0;
        for (std::int64_t k = begin; k < (copied ? std::min(inner, begin + 384) : inner); ++k) sum = std::fma(x[k], y[k], sum);
        number = std::fma(scale, sum, number);
      }
    }
  }
  return out;
}

TEST(ProductCpu, SumsEachNumberInOneOrder) {
  at::manual_seed(6);
  const int threads = at::get_num_threads();
  // Rows, columns and inner indices that fill no tile, strip, square or block; and enough work for several threads.
  const std::vector<Shape> shapes = {{1, 1, 16},    {2, 401, 80},   {7, 15, 48},    {11, 385, 144}, {12, 384, 64}, {29, 769, 96},
                                     {50, 33, 208}, {101, 63, 272}, {97, 400, 576}, {333, 48, 192}, {13, 1601, 80}};
  for (const auto& [m, k, n] : shapes) {
    const at::Tensor a = at::randn({m, k}), b = at::randn({k, n}), c = at::randn({m, n}), wide = at::randn({k, n + 200});
    const at::Tensor turned_a = a.t().contiguous().t(), turned_b = b.t().contiguous().t(), part_b = wide.narrow(1, 8, n);
    for (const at::Tensor& left : {a, turned_a}) {
      for (const at::Tensor& right : {b, turned_b, part_b}) {
        const at::Tensor sum = summed_in_order(left, right, c, 0.7F), plain = summed_in_order(left, right, at::zeros({m, n}), 1);
        for (const int count : {1, 2, 5}) {
          at::set_num_threads(count);
          const at::Tensor found = c.clone(), fresh = at::randn({m, n});
          cpu::product(found, left, right, 0.7F, true);
          EXPECT_TRUE(at::equal(found, sum)) << m << " " << k << " " << n << " on " << count;
          cpu::product(fresh, left, right, 1, false);
          EXPECT_TRUE(at::equal(fresh, plain)) << m << " " << k << " " << n << " on " << count;
        }
      }
    }
  }
  at::set_num_threads(threads);
}

TEST(ProductCpu, AddsWhatLiesElsewhereWithTheBitsOfACopy) {
  at::manual_seed(7);
  for (const auto& [m, k, n] : {Shape{1, 1, 16}, Shape{13, 0, 48}, Shape{101, 576, 80}, Shape{29, 1601, 96}}) {
    const at::Tensor a = at::randn({m, k}), b = at::randn({n, k}).t(), bias = at::randn({n}), rows = at::randn({m, n});
    const at::Tensor wide = at::randn({m, n + 48}), part = wide.narrow(1, 16, n);
    for (const at::Tensor& addend : {bias, rows, part}) {
      const at::Tensor copy = addend.expand({m, n}).clone(), before = addend.clone(), found = at::randn({m, n});
      cpu::product(copy, a, b, 1, true);
      cpu::product_and_sum(found, a, b, addend);
      EXPECT_TRUE(at::equal(found, copy)) << m << " " << k << " " << n << ", addend of " << addend.dim() << " dimensions";
      EXPECT_TRUE(at::equal(addend, before)) << "it is only read";
    }
  }
}

TEST(ProductCpu, GatesWithTheBitsOfTwoPasses) {
  at::manual_seed(8);
  const int threads = at::get_num_threads();
  for (const auto& [m, k, f] : {Shape{1, 40, 64}, Shape{101, 576, 192}, Shape{29, 1601, 128}}) {
    ASSERT_TRUE(cpu::takes_swiglu(f));
    const at::Tensor x = at::randn({m, k}), w = at::randn({2 * f, k}).t(), bias = at::randn({2 * f}), down = at::randn({k, f});
    for (const at::Tensor& added : {at::Tensor(), bias}) {
      const at::Tensor up = added.defined() ? added.expand({m, 2 * f}).clone() : at::zeros({m, 2 * f}), dact = at::zeros({m, f});
      cpu::product(up, x, w, 1, true);
      cpu::product(dact, x, down, 1, false);
      const at::Tensor act = swiglu(up), gradient = swiglu_backward(dact, up, nullptr);
      for (const int count : {1, 2, 5}) {
        at::set_num_threads(count);
        const at::Tensor up_found = at::randn({m, 2 * f}), act_found = at::randn({m, f}), found = at::randn({m, 2 * f});
        cpu::product_and_swiglu(up_found, act_found, x, w, added);
        cpu::product_and_swiglu_backward(found, x, down, up);
        EXPECT_TRUE(at::equal(up_found, up)) << m << " " << k << " " << f << " on " << count;
        EXPECT_TRUE(at::equal(act_found, act)) << m << " " << k << " " << f << " on " << count;
        EXPECT_TRUE(at::equal(found, gradient)) << m << " " << k << " " << f << " on " << count;
      }
    }
  }
  EXPECT_FALSE(cpu::takes_swiglu(80)) << "a strip would hold gates and ups";
  at::set_num_threads(threads);
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
  EXPECT_FALSE(cpu::takes_product(at::randn({4, 32}), a, at::randn({8, 64}).slice(1, 0, 64, 2))) << "nothing of b is adjacent";
}

}  // namespace
}  // namespace dmoerm::nn
