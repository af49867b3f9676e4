#include "nn/panel_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "nn/panel_sum.h"
#include "nn/product_sink.h"
#include "nn/transpose.h"

namespace dmoerm::nn {
namespace {

constexpr std::int64_t kPartFloats = 112 * 1024;  // of rows that stay in a core's cache while it goes through the weights

template <int kRows>
void finish_panel(const float* x, std::int64_t stride, const float* panel, std::int64_t depth, const ProductSink& sink,
                  std::int64_t row, std::int64_t begin, std::int64_t count) {
  alignas(64) float sums[kRows][kPanel];
  sum_panel<kRows>(x + row * stride, stride, panel, kPanel, depth, sums);
  for (int i = 0; i < kRows; ++i) {
    std::copy_n(sums[i], count, sink.out + (row + i) * sink.out_stride + begin);
    sink.finish(row + i, begin, count);
  }
}

/// Outputs [begin, begin + kOutputs) of all rows, which are in panels.
template <int kOutputs>
void finish_outputs(const at::Tensor& w, std::int64_t begin, const float* panels, std::int64_t rows, const ProductSink& sink) {
  alignas(64) float sums[kOutputs][kPanel];
  const std::int64_t inputs = w.size(1);
  for (std::int64_t first = 0; first < rows; first += kPanel) {
    sum_panel<kOutputs>(w.const_data_ptr<float>() + begin * w.stride(0), w.stride(0), panels + first * inputs, kPanel, inputs,
                        sums);
    for (std::int64_t row = first; row < std::min(rows, first + kPanel); ++row) {
      for (int o = 0; o < kOutputs; ++o) sink.out[row * sink.out_stride + begin + o] = sums[o][row - first];
      sink.finish(row, begin, kOutputs);
    }
  }
}

}  // namespace

at::Tensor panels_of(const at::Tensor& w) {
  const at::Tensor own = w.contiguous();
  const std::int64_t outputs = w.size(0), inputs = w.size(1), panels = (outputs + kPanel - 1) / kPanel;
  at::Tensor out = outputs % kPanel == 0 ? at::empty({panels, inputs, kPanel}) : at::zeros({panels, inputs, kPanel});
  const float* from = own.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  at::parallel_for(0, panels, std::max<std::int64_t>(1, 65536 / (inputs * kPanel)), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t count = std::min(kPanel, outputs - p * kPanel);
      copy_transposed(from + p * kPanel * inputs, inputs, count, inputs, to + p * inputs * kPanel, kPanel);
    }
  });
  return out;
}

at::Tensor PanelMatrix::product(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual) const {
  at::Tensor out = at::empty({x.size(0), outputs_}, x.options());
  multiply(x, bias, residual, out);
  return out;
}

void PanelMatrix::multiply(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& out) const {
  const ProductSink sink(bias, residual, out);
  const float *rows = x.const_data_ptr<float>(), *panels = panels_.const_data_ptr<float>();
  const std::int64_t all = x.size(0), stride = x.stride(0), part = part_rows(all, kPartFloats / inputs_, kPanelRowsMost);
  at::parallel_for(0, (all + part - 1) / part, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t end = std::min(all, (p + 1) * part);
      for (std::int64_t begin = 0; begin < outputs_; begin += kPanel) {
        const float* panel = panels + begin * inputs_;
        const std::int64_t count = std::min(kPanel, outputs_ - begin);
        for_row_groups(p * part, end, [&](auto group, std::int64_t row) {
          finish_panel<group.value>(rows, stride, panel, inputs_, sink, row, begin, count);
        });
      }
    }
  });
}

void multiply_by_panels(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias, const at::Tensor& residual,
                        const at::Tensor& out) {
  const std::int64_t rows = x.size(0), outputs = w.size(0);
  if (rows >= outputs || w.stride(1) != 1) return PanelMatrix(w).multiply(x, bias, residual, out);
  const at::Tensor laid_out = panels_of(x);
  const float* panels = laid_out.const_data_ptr<float>();
  const ProductSink sink(bias, residual, out);
  at::parallel_for(0, (outputs + kPanelRowsMost - 1) / kPanelRowsMost, 1, [&](std::int64_t first, std::int64_t last) {
    std::int64_t output = first * kPanelRowsMost;
    const std::int64_t end = std::min(outputs, last * kPanelRowsMost);
    for (; output + kPanelRowsMost <= end; output += kPanelRowsMost)
      finish_outputs<kPanelRowsMost>(w, output, panels, rows, sink);
    for (; output < end; ++output) finish_outputs<1>(w, output, panels, rows, sink);
  });
}

}  // namespace dmoerm::nn
