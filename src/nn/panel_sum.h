// The inner loop of float32 products in inference: some rows with a panel of 32 columns, each number summed in one order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace dmoerm::nn {

/// Whether the processor that this is built for has the registers that make sum_panel() faster than a library.
#if defined(__AVX512F__)
inline constexpr bool kPanelsAreFast = true;
#else
inline constexpr bool kPanelsAreFast = false;
#endif

inline constexpr std::int64_t kPanel = 32;          // columns of a panel: two registers of 16
inline constexpr std::int64_t kPanelRowsMost = 12;  // rows that are summed together: 24 registers of sums

/// Call `work` with groups of the rows [begin, end) that are summed together: std::integral_constant<int, count>, first row.
template <class Work>
void for_row_groups(std::int64_t begin, std::int64_t end, const Work& work) {
  std::int64_t row = begin;
  for (; row + kPanelRowsMost <= end; row += kPanelRowsMost) work(std::integral_constant<int, kPanelRowsMost>(), row);
  for (; row + 4 <= end; row += 4) work(std::integral_constant<int, 4>(), row);
  for (; row < end; ++row) work(std::integral_constant<int, 1>(), row);
}

/// sums[rows, kPanel] = x[rows, depth] panel[depth, kPanel].
/// @tparam kTurned  whether `x` is x' in memory, [depth, rows]
/// @param stride, panel_stride  from row to row of x (in memory) and of the panel
template <int kRows, bool kTurned = false>
void sum_panel(const float* x, std::int64_t stride, const float* panel, std::int64_t panel_stride, std::int64_t depth,
               float (*sums)[kPanel]) {
#if defined(__AVX512F__)
  __m512 low[kRows], high[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) low[i] = high[i] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < depth; ++k) {
    const __m512 w_low = _mm512_loadu_ps(panel + k * panel_stride), w_high = _mm512_loadu_ps(panel + k * panel_stride + 16);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const __m512 own = _mm512_set1_ps(kTurned ? x[k * stride + i] : x[i * stride + k]);
      low[i] = _mm512_fmadd_ps(own, w_low, low[i]);
      high[i] = _mm512_fmadd_ps(own, w_high, high[i]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    _mm512_storeu_ps(sums[i], low[i]);
    _mm512_storeu_ps(sums[i] + 16, high[i]);
  }
#else
  for (int i = 0; i < kRows; ++i) {
    std::fill_n(sums[i], kPanel, 0.0F);
    for (std::int64_t k = 0; k < depth; ++k) {
      const float own = kTurned ? x[k * stride + i] : x[i * stride + k];
#pragma omp simd
      for (std::int64_t c = 0; c < kPanel; ++c) sums[i][c] = __builtin_fmaf(own, panel[k * panel_stride + c], sums[i][c]);
    }
  }
#endif
}

}  // namespace dmoerm::nn
