#include "nn/low_rank_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "nn/panel_product.h"
#include "nn/panel_sum.h"

namespace dmoerm::nn::cpu {
namespace {

struct Product {
  const float *x, *a, *b;  ///< a and b in panels
  float* out;
  std::int64_t x_stride, out_stride, inputs, rank, outputs;
  float scale;
};

template <int kRows>
void add_rows(const Product& p, std::int64_t first, float* narrow) {
  alignas(64) float sums[kRows][kPanel];
  const std::int64_t rank_panels = (p.rank + kPanel - 1) / kPanel, width = rank_panels * kPanel;
  for (std::int64_t panel = 0; panel < rank_panels; ++panel) {
    sum_panel<kRows>(p.x + first * p.x_stride, p.x_stride, p.a + panel * p.inputs * kPanel, kPanel, p.inputs, sums);
    for (int i = 0; i < kRows; ++i) std::copy_n(sums[i], kPanel, narrow + i * width + panel * kPanel);
  }
  for (std::int64_t begin = 0; begin < p.outputs; begin += kPanel) {
    sum_panel<kRows>(narrow, width, p.b + begin * p.rank, kPanel, p.rank, sums);
    const std::int64_t count = std::min(kPanel, p.outputs - begin);
    for (int i = 0; i < kRows; ++i) {
      float* out = p.out + (first + i) * p.out_stride + begin;
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c) out[c] = __builtin_fmaf(p.scale, sums[i][c], out[c]);
    }
  }
}

}  // namespace

void add_low_rank(const at::Tensor& x, const at::Tensor& a, const at::Tensor& b, double scale, const at::Tensor& out) {
  const at::Tensor a_panels = panels_of(a), b_panels = panels_of(b);
  const Product product{x.const_data_ptr<float>(),
                        a_panels.const_data_ptr<float>(),
                        b_panels.const_data_ptr<float>(),
                        out.data_ptr<float>(),
                        x.stride(0),
                        out.stride(0),
                        a.size(1),
                        a.size(0),
                        b.size(0),
                        static_cast<float>(scale)};
  const std::int64_t rows = x.size(0), tasks = (rows + kPanelRowsMost - 1) / kPanelRowsMost;
  const std::int64_t width = a_panels.size(0) * kPanel;
  at::parallel_for(0, tasks, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> narrow(static_cast<std::size_t>(kPanelRowsMost * width));
    for_row_groups(begin * kPanelRowsMost, std::min(rows, end * kPanelRowsMost),
                   [&](auto group, std::int64_t row) { add_rows<group.value>(product, row, narrow.data()); });
  });
}

}  // namespace dmoerm::nn::cpu
