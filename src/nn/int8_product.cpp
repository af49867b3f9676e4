#include "nn/int8_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "nn/int8_sum.h"
#include "nn/product_sink.h"
#include "nn/simd_math.h"

namespace dmoerm::nn {
namespace {

constexpr float kSteps = 127;
constexpr float kSmallest = 1e-36F;              // numbers below it count as zero: their steps leave float32
constexpr std::int64_t kMlpRows = 96;            // whose activations stay in a core's cache between two products
constexpr std::int64_t kPartBytes = 448 * 1024;  // of rows that stay in a core's cache while it goes through the weights

std::int64_t quads_of(std::int64_t inputs) { return (inputs + kQuad - 1) / kQuad; }
std::int64_t blocks_of(std::int64_t inputs) { return (inputs + kBlock - 1) / kBlock; }

/// The largest of some numbers without its sign; NaN or infinity if there is one.
float largest_of(const float* x, std::int64_t count) {
  std::uint32_t most = 0;  // bits of numbers without sign are ordered as the numbers are, and those of NaN are the largest
#pragma omp simd reduction(max : most)
  for (std::int64_t k = 0; k < count; ++k) most = std::max(most, std::bit_cast<std::uint32_t>(x[k]) & 0x7FFFFFFFU);
  return std::bit_cast<float>(most);
}

/// bytes[k] = 128 + x[k] in steps of the scale, to the nearest whole number, and to the even one of two. @return the scale
float to_bytes(const float* x, std::int64_t count, std::uint8_t* bytes) {
  const float largest = largest_of(x, count);
  const bool finite = largest <= std::numeric_limits<float>::max(), some = finite && largest >= kSmallest;
  const float per_step = some ? kSteps / largest : 0.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: what is added to it is rounded to a whole number in its lowest bits
  constexpr std::uint32_t kRoundBits = 0x4B400000U;
#pragma omp simd
  for (std::int64_t k = 0; k < count; ++k)
    bytes[k] = static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(x[k] * per_step + kRound) - kRoundBits + kByteZero);
  return some ? largest / kSteps : finite ? 0.0F : std::numeric_limits<float>::quiet_NaN();
}

/// A row block by block. @param scales  [blocks]
void to_blocks(const float* x, std::int64_t count, std::uint8_t* bytes, float* scales) {
  for (std::int64_t begin = 0; begin < count; begin += kBlock)
    *scales++ = to_bytes(x + begin, std::min(kBlock, count - begin), bytes + begin);
}

/// Rows in eight bits as the loops read them.
struct RowBytes {
  const std::uint8_t* bytes;
  std::int64_t stride;
  const float* scales;
  std::int64_t blocks;
};

RowBytes bytes_of(const Int8Rows& x) {
  return {x.bytes.const_data_ptr<std::uint8_t>(), x.stride, x.scales.const_data_ptr<float>(), x.blocks};
}

/// A panel of outputs of the rows from `row` on, without bias.
template <int kRows>
void multiply_panel(const RowBytes& x, const Int8Panels& w, std::int64_t row, std::int64_t panel, float (*values)[kPanel]) {
  for (int i = 0; i < kRows; ++i) std::fill_n(values[i], kPanel, 0.0F);
  for (std::int64_t block = 0; block < w.blocks; ++block) {
    const std::int64_t quad = block * (kBlock / kQuad);
    const ByteBlock own{x.bytes + row * x.stride + block * kBlock, x.stride, x.scales + row * x.blocks + block, x.blocks};
    add_block<kRows>(own, w.bytes + (panel * w.quads + quad) * kPanel * kQuad, w.start + (panel * w.blocks + block) * kPanel,
                     std::min(kBlock / kQuad, w.quads - quad), values);
  }
  const float* scales = w.scales + panel * kPanel;
  for (int i = 0; i < kRows; ++i) {
#pragma omp simd
    for (std::int64_t o = 0; o < kPanel; ++o) values[i][o] *= scales[o];
  }
}

/// The same into the product's result, whose first row is that of `x`, with bias and residual.
template <int kRows>
void finish_panel(const RowBytes& x, const Int8Panels& w, std::int64_t row, std::int64_t panel, const ProductSink& sink,
                  std::int64_t sink_row) {
  alignas(64) float values[kRows][kPanel];
  multiply_panel<kRows>(x, w, row, panel, values);
  const std::int64_t begin = panel * kPanel, count = std::min(kPanel, w.outputs - begin);
  for (int i = 0; i < kRows; ++i) {
    std::copy_n(values[i], count, sink.out + (sink_row + i) * sink.out_stride + begin);
    sink.finish(sink_row + i, begin, count);
  }
}

/// A panel of silu(gate) * up of some rows. @param bias  of gate and up; null: none @param act  of the first row of `x`
template <int kRows>
void finish_gated(const RowBytes& x, const Int8Panels& w, const float* bias, std::int64_t row, std::int64_t panel, float* act) {
  alignas(64) float gate[kRows][kPanel], up[kRows][kPanel];
  const std::int64_t width = w.outputs / 2, begin = panel * kPanel;
  multiply_panel<kRows>(x, w, row, panel, gate);
  multiply_panel<kRows>(x, w, row, panel + width / kPanel, up);
  for (int i = 0; i < kRows; ++i) {
    if (bias != nullptr) {
#pragma omp simd
      for (std::int64_t o = 0; o < kPanel; ++o) gate[i][o] += bias[begin + o], up[i][o] += bias[width + begin + o];
    }
    float* to = act + (row + i) * width + begin;
#pragma omp simd
    for (std::int64_t o = 0; o < kPanel; ++o) to[o] = gate[i][o] * fast_sigmoid(gate[i][o]) * up[i][o];
  }
}

}  // namespace

Int8Rows::Int8Rows(const at::Tensor& x)
    : rows(x.size(0)),
      inputs(x.size(1)),
      stride(quads_of(inputs) * kQuad),
      blocks(blocks_of(inputs)),
      bytes(at::empty({rows, stride}, x.options().dtype(at::kByte))),
      scales(at::empty({rows, blocks}, x.options())) {
  const float* from = x.const_data_ptr<float>();
  auto* to = bytes.data_ptr<std::uint8_t>();
  float* own_scales = scales.data_ptr<float>();
  const std::int64_t from_stride = x.stride(0), grain = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, inputs));
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      to_blocks(from + row * from_stride, inputs, to + row * stride, own_scales + row * blocks);
      std::fill(to + row * stride + inputs, to + (row + 1) * stride, static_cast<std::uint8_t>(kByteZero));
    }
  });
}

Int8Matrix::Int8Matrix(const at::Tensor& w) : outputs_(w.size(0)), inputs_(w.size(1)) {
  const std::int64_t panels = (outputs_ + kPanel - 1) / kPanel, quads = quads_of(inputs_), blocks = blocks_of(inputs_);
  panels_ = at::zeros({panels, quads, kPanel, kQuad}, w.options().dtype(at::kChar));
  scales_ = at::zeros({panels * kPanel}, w.options());
  start_ = at::zeros({panels, blocks, kPanel}, w.options().dtype(at::kInt));
  const at::Tensor own = w.contiguous();
  const float* from = own.const_data_ptr<float>();
  auto* to = panels_.data_ptr<std::int8_t>();
  float* scales = scales_.data_ptr<float>();
  auto* start = start_.data_ptr<std::int32_t>();
  at::parallel_for(0, outputs_, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(inputs_));
    for (std::int64_t o = begin; o < end; ++o) {
      const std::int64_t panel = o / kPanel, column = o % kPanel;
      scales[o] = to_bytes(from + o * inputs_, inputs_, bytes.data());
      for (std::int64_t k = 0; k < inputs_; ++k) {
        const std::int32_t whole = bytes[static_cast<std::size_t>(k)] - kByteZero;
        to[((panel * quads + k / kQuad) * kPanel + column) * kQuad + k % kQuad] = static_cast<std::int8_t>(whole);
        start[(panel * blocks + k / kBlock) * kPanel + column] -= kByteZero * whole;
      }
    }
  });
}

at::Tensor Int8Matrix::product(const Int8Rows& x, const at::Tensor& bias, const at::Tensor& residual) const {
  at::Tensor out = at::empty({x.rows, outputs_}, x.scales.options());
  multiply(x, bias, residual, out);
  return out;
}

Int8Panels Int8Matrix::panels() const {
  return {panels_.const_data_ptr<std::int8_t>(),
          scales_.const_data_ptr<float>(),
          start_.const_data_ptr<std::int32_t>(),
          quads_of(inputs_),
          blocks_of(inputs_),
          outputs_};
}

void Int8Matrix::multiply(const Int8Rows& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& out) const {
  const ProductSink sink(bias, residual, out);
  const RowBytes rows = bytes_of(x);
  const Int8Panels w = panels();
  const std::int64_t part = part_rows(x.rows, kPartBytes / x.stride, kPanelRowsMost), parts = (x.rows + part - 1) / part;
  // Where there are fewer parts than threads, the outputs are divided too.
  const std::int64_t all = panels_.size(0), threads = std::max(1, at::get_num_threads());
  const std::int64_t shares = std::clamp<std::int64_t>(threads / std::max<std::int64_t>(1, parts), 1, all);
  at::parallel_for(0, parts * shares, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last; ++task) {
      const std::int64_t begin = task / shares * part, share = task % shares;
      for (std::int64_t panel = all * share / shares; panel < all * (share + 1) / shares; ++panel) {
        for_row_groups(begin, std::min(x.rows, begin + part),
                       [&](auto group, std::int64_t row) { finish_panel<group.value>(rows, w, row, panel, sink, row); });
      }
    }
  });
}

std::string_view int8_saves_no_time() {
#if defined(__AVX512VNNI__)
  return {};
#else
  return "this program was built for a processor without AVX-512 VNNI: int8 is not faster than float32 there";
#endif
}

bool takes_gated_mlp(std::int64_t rows, const Int8Matrix& gate_up) {
  return gate_up.panels().outputs % (2 * kPanel) == 0 && rows >= kPanelRowsMost * std::max(1, at::get_num_threads());
}

at::Tensor gated_mlp(const Int8Rows& x, const Int8Linear& gate_up, const Int8Linear& down, const at::Tensor& residual) {
  const RowBytes rows = bytes_of(x);
  const Int8Panels up_w = gate_up.w.panels(), down_w = down.w.panels();
  const float* up_b = gate_up.b.defined() ? gate_up.b.const_data_ptr<float>() : nullptr;
  at::Tensor out = at::empty({x.rows, down_w.outputs}, x.scales.options());
  const ProductSink sink(down.b, residual, out);
  const std::int64_t width = up_w.outputs / 2, blocks = down_w.blocks, part = part_rows(x.rows, x.rows, kPanelRowsMost);
  at::parallel_for(0, (x.rows + part - 1) / part, 1, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> act(static_cast<std::size_t>(kMlpRows * width)), scales(static_cast<std::size_t>(kMlpRows * blocks));
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(kMlpRows * width));
    const RowBytes act_rows{bytes.data(), width, scales.data(), blocks};
    const std::int64_t end = std::min(x.rows, last * part);
    for (std::int64_t begin = first * part; begin < end; begin += kMlpRows) {
      const std::int64_t count = std::min(kMlpRows, end - begin);
      const RowBytes own{rows.bytes + begin * rows.stride, rows.stride, rows.scales + begin * rows.blocks, rows.blocks};
      for (std::int64_t panel = 0; panel < width / kPanel; ++panel)
        for_row_groups(0, count,
                       [&](auto group, std::int64_t row) { finish_gated<group.value>(own, up_w, up_b, row, panel, act.data()); });
      for (std::int64_t row = 0; row < count; ++row)
        to_blocks(act.data() + row * width, width, bytes.data() + row * width, scales.data() + row * blocks);
      for (std::int64_t panel = 0; panel * kPanel < down_w.outputs; ++panel)
        for_row_groups(0, count, [&](auto group, std::int64_t row) {
          finish_panel<group.value>(act_rows, down_w, row, panel, sink, begin + row);
        });
    }
  });
  return out;
}

}  // namespace dmoerm::nn
