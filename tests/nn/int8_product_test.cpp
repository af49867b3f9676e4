// Products in eight bits: the bits of whole numbers multiplied by other means, whatever rows, threads and instructions.
#include "nn/int8_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "nn/int8_sum.h"
#include "nn/ops.h"

namespace dmoerm::nn {
namespace {

/// Numbers of a row, [begin, end), in steps of their largest.
struct Steps {
  Steps(const at::Tensor& row, std::int64_t begin, std::int64_t end) {
    float largest = 0;
    for (std::int64_t k = begin; k < end; ++k) largest = std::max(largest, std::abs(row[k].item<float>()));
    for (std::int64_t k = begin; k < end; ++k)
      whole.push_back(static_cast<std::int64_t>(std::nearbyint(row[k].item<float>() * (127.0F / largest))));
    scale = largest / 127.0F;
  }
  std::vector<std::int64_t> whole;
  float scale = 0;
};

/// One number of x w' + bias + residual, in 64-bit whole numbers and one fused operation a block of 96 inputs.
float expected(const at::Tensor& x_K, const at::Tensor& w_K, float bias, float residual) {
  const std::int64_t inputs = x_K.size(0);
  const Steps w(w_K, 0, inputs);
  float all = 0;
  for (std::int64_t begin = 0; begin < inputs; begin += 96) {
    const Steps x(x_K, begin, std::min(inputs, begin + 96));
    std::int64_t sum = 0;
    for (std::size_t k = 0; k < x.whole.size(); ++k) sum += x.whole[k] * w.whole[static_cast<std::size_t>(begin) + k];
    all = std::fma(static_cast<float>(sum), x.scale, all);
  }
  return all * w.scale + bias + residual;
}

TEST(Int8Product, HasTheBitsOfWholeNumbersMultipliedByOtherMeans) {
  at::manual_seed(1);
  for (const auto& [rows, inputs, outputs] : std::vector<std::array<std::int64_t, 3>>{
           {1, 4, 32}, {1, 1, 1}, {5, 7, 33}, {12, 96, 40}, {13, 63, 31}, {3, 130, 35}, {17, 576, 3}}) {
    const at::Tensor x = at::randn({rows, inputs}), w = at::randn({outputs, inputs}), bias = at::randn({outputs}),
                     residual = at::randn({rows, outputs});
    const at::Tensor got = Int8Matrix(w).product(Int8Rows(x), bias, residual);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t o = 0; o < outputs; ++o)
        ASSERT_EQ(got[r][o].item<float>(), expected(x[r], w[o], bias[o].item<float>(), residual[r][o].item<float>()))
            << rows << " " << inputs << " " << outputs << ": " << r << " " << o;
    }
  }
}

TEST(Int8Product, IsNearTheProductInFloat32) {
  at::manual_seed(2);
  const at::Tensor x = at::randn({50, 576}), w = at::randn({96, 576}), plain = at::mm(x, w.t());
  const at::Tensor difference = Int8Matrix(w).product(Int8Rows(x), {}) - plain;
  EXPECT_LT((difference.norm() / plain.norm()).item<double>(), 0.015);
}

TEST(Int8Product, GivesARowTheSameBitsInAnyCompanyAndOnAnyNumberOfThreads) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({401, 96}), w = at::randn({80, 96});
  const Int8Matrix matrix(w);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor all = matrix.product(Int8Rows(x), {});
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(matrix.product(Int8Rows(x), {}).equal(all)) << threads;
    for (const std::int64_t begin : {0, 1, 13, 200, 400}) {
      for (const std::int64_t count : {1, 2, 3, 12, 190}) {
        if (begin + count > x.size(0)) continue;
        EXPECT_TRUE(matrix.product(Int8Rows(x.narrow(0, begin, count)), {}).equal(all.narrow(0, begin, count)))
            << begin << " " << count << " on " << threads;
      }
    }
  }
  at::set_num_threads(before);
}

TEST(Int8Product, HasTheSameBitsByPlainLoopsAsByTheProcessorsInstruction) {
  constexpr int kRows = 5;
  std::mt19937 draw(4);
  std::normal_distribution<float> normal;
  for (const std::int64_t quads : {1, 7, 24}) {
    const std::int64_t inputs = quads * kQuad;
    std::vector<std::uint8_t> x(static_cast<std::size_t>(kRows * inputs));
    std::vector<std::int8_t> panel(static_cast<std::size_t>(inputs * kPanel));
    std::vector<std::int32_t> start(kPanel);
    std::vector<float> scales(kRows);
    for (auto& byte : x) byte = static_cast<std::uint8_t>(draw() % 4 == 0 ? 255 : draw());
    for (auto& byte : panel) byte = static_cast<std::int8_t>(draw() % 4 == 0 ? -127 : static_cast<int>(draw() % 255) - 127);
    for (auto& first : start) first = static_cast<std::int32_t>(draw() % 2000001) - 1000000;
    for (auto& scale : scales) scale = normal(draw);
    float fast[kRows][kPanel], plain[kRows][kPanel];
    for (auto* row : fast) std::generate_n(row, kPanel, [&] { return 1e5F * normal(draw); });
    std::copy_n(&fast[0][0], kRows * kPanel, &plain[0][0]);
    const ByteBlock block{x.data(), inputs, scales.data(), 1};
    add_block<kRows>(block, panel.data(), start.data(), quads, fast);
    add_block_plain<kRows>(block, panel.data(), start.data(), quads, plain);
    for (int i = 0; i < kRows; ++i) {
      for (std::int64_t o = 0; o < kPanel; ++o) EXPECT_EQ(fast[i][o], plain[i][o]) << i << " " << o;
    }
  }
}

TEST(Int8Product, ReadsAndWritesRowsOfWiderMatrices) {
  at::manual_seed(5);
  const at::Tensor x = at::randn({20, 50}), w = at::randn({40, 24}), out = at::zeros({20, 90});
  Int8Matrix(w).multiply(Int8Rows(x.narrow(1, 3, 24)), {}, {}, out.narrow(1, 10, 40));
  EXPECT_TRUE(out.narrow(1, 10, 40).equal(Int8Matrix(w).product(Int8Rows(x.narrow(1, 3, 24).contiguous()), {})));
  EXPECT_EQ(out.narrow(1, 0, 10).abs().max().item<float>() + out.narrow(1, 50, 40).abs().max().item<float>(), 0);
}

TEST(Int8Product, ComputesAGatedMlpWithTheBitsOfItsSteps) {
  at::manual_seed(7);
  const at::Tensor gate_up_w = at::randn({2 * 96, 40}), down_w = at::randn({40, 96}) * 0.1, gate_up_b = at::randn({2 * 96}),
                   down_b = at::randn({40});
  const Int8Matrix gate_up(gate_up_w), down(down_w);
  for (const std::int64_t rows : {12, 97, 250}) {
    const at::Tensor x = at::randn({rows, 40}), residual = at::randn({rows, 40}), none;
    for (const bool biased : {false, true}) {
      const at::Tensor &up_b = biased ? gate_up_b : none, &own_b = biased ? down_b : none;
      const at::Tensor act = swiglu(gate_up.product(Int8Rows(x), up_b));
      const at::Tensor steps = down.product(Int8Rows(act), own_b, residual);
      EXPECT_TRUE(gated_mlp(Int8Rows(x), {gate_up, up_b}, {down, own_b}, residual).equal(steps)) << rows << biased;
    }
  }
  EXPECT_TRUE(takes_gated_mlp(400, gate_up));
  EXPECT_FALSE(takes_gated_mlp(400, Int8Matrix(at::randn({80, 40})))) << "a panel crosses the middle";
}

TEST(Int8Product, PassesOnWhatIsNotFiniteInItsRowAlone) {
  at::manual_seed(6);
  const at::Tensor x = at::randn({4, 30}), w = at::randn({10, 30});
  x[0].zero_();
  x[1][7] = NAN;
  x[2][8] = -INFINITY;
  const at::Tensor y = Int8Matrix(w).product(Int8Rows(x), {});
  EXPECT_EQ(y[0].abs().max().item<float>(), 0) << "a row of zeros";
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_TRUE(y[2].isnan().all().item<bool>());
  EXPECT_TRUE(y[3].isfinite().all().item<bool>());
}

TEST(Int8Product, SumsManyInputsOfTheLargestSize) {
  const at::Tensor ones = at::ones({1, 200000});
  EXPECT_NEAR(Int8Matrix(ones).product(Int8Rows(ones), {}).item<double>(), 200000, 1);
  EXPECT_NEAR(Int8Matrix(-ones).product(Int8Rows(ones), {}).item<double>(), -200000, 1);
}

}  // namespace
}  // namespace dmoerm::nn
