// Products by panels: near those in float64, and a row with the same bits whatever rows are beside it.
#include "nn/panel_product.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "nn/low_rank_cpu.h"

namespace dmoerm::nn {
namespace {

double worst(const at::Tensor& got, const at::Tensor& expected) {
  return (got.to(at::kDouble) - expected).abs().max().item<double>();
}

TEST(PanelProduct, IsNearTheProductInFloat64) {
  at::manual_seed(1);
  for (const auto& [rows, inputs, outputs] : std::vector<std::array<std::int64_t, 3>>{
           {1, 4, 32}, {1, 1, 1}, {5, 7, 33}, {12, 64, 64}, {13, 63, 31}, {29, 130, 70}, {200, 576, 3}}) {
    const at::Tensor x = at::randn({rows, inputs}), w = at::randn({outputs, inputs}), bias = at::randn({outputs}),
                     residual = at::randn({rows, outputs});
    const at::Tensor plain = at::mm(x.to(at::kDouble), w.to(at::kDouble).t());
    EXPECT_LT(worst(PanelMatrix(w).product(x, {}), plain), 1e-4) << rows << " " << inputs << " " << outputs;
    EXPECT_LT(worst(PanelMatrix(w).product(x, bias, residual), plain + bias + residual), 1e-4) << rows;
  }
}

TEST(PanelProduct, GivesARowTheSameBitsAloneAndInAnyCompany) {
  at::manual_seed(2);
  const at::Tensor x = at::randn({401, 96}), w = at::randn({80, 96});
  const PanelMatrix matrix(w);
  const at::Tensor all = matrix.product(x, {});
  for (const std::int64_t begin : {0, 1, 13, 200, 400}) {
    for (const std::int64_t count : {1, 2, 3, 12, 190}) {
      if (begin + count > x.size(0)) continue;
      EXPECT_TRUE(matrix.product(x.narrow(0, begin, count), {}).equal(all.narrow(0, begin, count))) << begin << " " << count;
    }
  }
}

TEST(PanelProduct, HasTheSameBitsWhetherRowsOrWeightsAreLaidOut) {
  at::manual_seed(5);
  const at::Tensor w = at::randn({77, 60}), bias = at::randn({77});
  for (const std::int64_t rows : {1, 5, 32, 33, 76, 77, 100}) {
    const at::Tensor x = at::randn({rows, 60}), residual = at::randn({rows, 77}), out = at::zeros({rows, 90});
    multiply_by_panels(x, w, bias, residual, out.narrow(1, 3, 77));
    EXPECT_TRUE(out.narrow(1, 3, 77).equal(PanelMatrix(w).product(x, bias, residual))) << rows;
    EXPECT_EQ(out.narrow(1, 0, 3).abs().max().item<float>() + out.narrow(1, 80, 10).abs().max().item<float>(), 0);
  }
}

TEST(PanelProduct, ReadsAndWritesRowsOfWiderMatrices) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({20, 50}), w = at::randn({40, 24}), out = at::zeros({20, 90});
  PanelMatrix(w).multiply(x.narrow(1, 3, 24), {}, {}, out.narrow(1, 10, 40));
  EXPECT_TRUE(out.narrow(1, 10, 40).equal(PanelMatrix(w).product(x.narrow(1, 3, 24).contiguous(), {})));
  EXPECT_EQ(out.narrow(1, 0, 10).abs().max().item<float>() + out.narrow(1, 50, 40).abs().max().item<float>(), 0);
}

TEST(LowRank, AddsTheAdaptersProductWithTheSameBitsInAnyCompany) {
  at::manual_seed(4);
  for (const std::int64_t rank : {1, 3, 32, 40}) {
    const at::Tensor x = at::randn({31, 66}), a = at::randn({rank, 66}), b = at::randn({50, rank}), before = at::randn({31, 70});
    const at::Tensor wide = before.clone(), out = wide.narrow(1, 9, 50);
    cpu::add_low_rank(x, a, b, 0.5, out);
    const at::Tensor u = at::mm(x.to(at::kDouble), a.to(at::kDouble).t());
    const at::Tensor expected = before.narrow(1, 9, 50) + at::mm(u, b.to(at::kDouble).t()) * 0.5;
    EXPECT_LT(worst(out, expected), 1e-4) << rank;
    EXPECT_TRUE(wide.narrow(1, 0, 9).equal(before.narrow(1, 0, 9)));
    for (const std::int64_t row : {0, 11, 30}) {
      const at::Tensor one = before.narrow(0, row, 1).narrow(1, 9, 50).clone();
      cpu::add_low_rank(x.narrow(0, row, 1), a, b, 0.5, one);
      EXPECT_TRUE(one.equal(out.narrow(0, row, 1))) << rank << " " << row;
    }
  }
}

}  // namespace
}  // namespace dmoerm::nn
