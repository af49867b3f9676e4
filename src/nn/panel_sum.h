// The inner loop of float32 products in inference and attention: some rows with a panel of 32 columns, each number summed in one
// order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "nn/lanes.h"

namespace dmoerm::nn {

/// Whether the processor that this is built for has the instructions that make sum_panel() faster than a library.
#if defined(__AVX512F__) || defined(__FMA__)
inline constexpr bool kPanelsAreFast = true;
#else
inline constexpr bool kPanelsAreFast = false;
#endif

inline constexpr std::int64_t kPanel = 2 * kLanes;                  // columns of a panel
inline constexpr int kPanelRowsMost = kLanesSummed == 24 ? 12 : 6;  // rows that are summed together

/// Call `work` with groups of the rows [begin, end) that are summed together: std::integral_constant<int, count>, first row.
template <class Work>
void for_row_groups(std::int64_t begin, std::int64_t end, const Work& work) {
  std::int64_t row = begin;
  for (; row + kPanelRowsMost <= end; row += kPanelRowsMost) work(std::integral_constant<int, kPanelRowsMost>(), row);
  for (; row + 4 <= end; row += 4) work(std::integral_constant<int, 4>(), row);
  for (; row < end; ++row) work(std::integral_constant<int, 1>(), row);
}

/// x[rows, depth] panel[depth, kPanel] in registers: calls finish(row, column, sums) with the sums of kLanes columns.
/// @tparam kTurned  whether `x` is x' in memory, [depth, rows]
/// @param stride, panel_stride  from row to row of x (in memory) and of the panel
template <int kRows, bool kTurned = false, class Finish>
void for_panel_sums(const float* x, std::int64_t stride, const float* panel, std::int64_t panel_stride, std::int64_t depth,
                    const Finish& finish) {
  constexpr int kParts = kRows * 2 <= kLanesSummed ? 2 : 1;  // of kLanes columns that are summed together
  for (int first = 0; first < 2; first += kParts) {
    Lanes sums[kRows][kParts];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int part = 0; part < kParts; ++part) sums[i][part] = Lanes::zero();
    }
    for (std::int64_t k = 0; k < depth; ++k) {
      Lanes right[kParts];
#pragma GCC unroll 2
      for (int part = 0; part < kParts; ++part) right[part] = Lanes::load(panel + k * panel_stride + (first + part) * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Lanes own = Lanes::all(kTurned ? x[k * stride + i] : x[i * stride + k]);
#pragma GCC unroll 2
        for (int part = 0; part < kParts; ++part) sums[i][part] = multiply_add(own, right[part], sums[i][part]);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int part = 0; part < kParts; ++part) finish(i, (first + part) * kLanes, sums[i][part]);
    }
  }
}

/// sums[rows, kPanel] = x[rows, depth] panel[depth, kPanel], as for_panel_sums() has them.
template <int kRows>
void sum_panel(const float* x, std::int64_t stride, const float* panel, std::int64_t panel_stride, std::int64_t depth,
               float (*sums)[kPanel]) {
  for_panel_sums<kRows>(x, stride, panel, panel_stride, depth,
                        [&](int row, std::int64_t column, Lanes lanes) { lanes.store(sums[row] + column); });
}

}  // namespace dmoerm::nn
