// Copying a matrix so that its rows become columns, for loops that read columns side by side.
#pragma once
#include <algorithm>
#include <cstdint>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace dmoerm::nn {

#if defined(__AVX512F__)
/// Transpose a square of 16 numbers a side: its halves off the diagonal change places, then those of each quarter, and so on.
inline void transpose_square(__m512 (&x)[16]) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#pragma GCC unroll 4
  for (int half = 8; half > 0; half /= 2) {
    const __mmask16 right = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(half));
    // In the places of `right`, what lies `half` places before in the other row; 16 and more means the second of two rows.
    const __m512i upper = _mm512_mask_add_epi32(lane, right, lane, _mm512_set1_epi32(16 - half)),
                  lower =
                      _mm512_mask_add_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(half)), right, lane, _mm512_set1_epi32(16));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if ((i & half) != 0) continue;
      const __m512 above = x[i], below = x[i + half];
      x[i] = _mm512_permutex2var_ps(above, upper, below);
      x[i + half] = _mm512_permutex2var_ps(above, lower, below);
    }
  }
}
#endif

/// to[column, row] = from[row, column], with `stride` and `to_stride` numbers from row to row in memory.
inline void copy_transposed(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* to,
                            std::int64_t to_stride) {
  constexpr std::int64_t kSide = 16;  // of a square
  for (std::int64_t row = 0; row < rows; row += kSide, from += kSide * stride, to += kSide) {
    const std::int64_t count = std::min(kSide, rows - row);
    std::int64_t begin = 0;
#if defined(__AVX512F__)
    for (; count == kSide && begin + kSide <= columns; begin += kSide) {
      __m512 square[kSide];
#pragma GCC unroll 16
      for (int i = 0; i < kSide; ++i) {
        __builtin_prefetch(from + i * stride + begin + 4 * kSide);  // a line that is needed four squares on
        square[i] = _mm512_loadu_ps(from + i * stride + begin);
      }
      transpose_square(square);
#pragma GCC unroll 16
      for (int i = 0; i < kSide; ++i) _mm512_storeu_ps(to + (begin + i) * to_stride, square[i]);
    }
#endif
    for (; begin < columns; begin += kSide) {  // square by square, so that both sides stay in the nearest cache
      const std::int64_t end = std::min(columns, begin + kSide);
      for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t k = begin; k < end; ++k) to[k * to_stride + i] = from[i * stride + k];
      }
    }
  }
}

}  // namespace dmoerm::nn
