// Copying a matrix so that its rows become columns, for loops that read columns side by side.
#pragma once
#include <algorithm>
#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace dmoerm::nn {

#if defined(__AVX512F__)
using Row = __m512;
inline Row load_row(const float* p) { return _mm512_loadu_ps(p); }
inline void store_row(float* p, Row row) { _mm512_storeu_ps(p, row); }

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
#elif defined(__AVX2__)
using Row = __m256;
inline Row load_row(const float* p) { return _mm256_loadu_ps(p); }
inline void store_row(float* p, Row row) { _mm256_storeu_ps(p, row); }

/// Transpose a square of 8 numbers a side: pairs of rows are interleaved, then pairs of pairs, then halves of registers.
inline void transpose_square(__m256 (&x)[8]) {
  __m256 pairs[8], fours[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      fours[i + 2 * k] = _mm256_shuffle_ps(pairs[i + k], pairs[i + k + 2], _MM_SHUFFLE(1, 0, 1, 0));
      fours[i + 2 * k + 1] = _mm256_shuffle_ps(pairs[i + k], pairs[i + k + 2], _MM_SHUFFLE(3, 2, 3, 2));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
    x[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
  }
}
#endif

#if defined(__AVX512F__) || defined(__AVX2__)
inline constexpr std::int64_t kSquareSide = sizeof(Row) / sizeof(float);

/// to[column, row] = from[row, column] for whole squares: kSquareSide rows. @return how many columns that were
inline std::int64_t copy_squares(const float* from, std::int64_t stride, std::int64_t columns, float* to,
                                 std::int64_t to_stride) {
  std::int64_t begin = 0;
  for (; begin + kSquareSide <= columns; begin += kSquareSide) {
    Row square[kSquareSide];
#pragma GCC unroll 16
    for (int i = 0; i < kSquareSide; ++i) {
      __builtin_prefetch(from + i * stride + begin + 64);  // a line that is needed in four or more squares
      square[i] = load_row(from + i * stride + begin);
    }
    transpose_square(square);
#pragma GCC unroll 16
    for (int i = 0; i < kSquareSide; ++i) store_row(to + (begin + i) * to_stride, square[i]);
  }
  return begin;
}
#else
inline constexpr std::int64_t kSquareSide = 16;
inline std::int64_t copy_squares(const float*, std::int64_t, std::int64_t, float*, std::int64_t) { return 0; }
#endif

/// to[column, row] = from[row, column], with `stride` and `to_stride` numbers from row to row in memory.
inline void copy_transposed(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* to,
                            std::int64_t to_stride) {
  for (std::int64_t row = 0; row < rows; row += kSquareSide, from += kSquareSide * stride, to += kSquareSide) {
    const std::int64_t count = std::min(kSquareSide, rows - row);
    std::int64_t begin = count == kSquareSide ? copy_squares(from, stride, columns, to, to_stride) : 0;
    for (; begin < columns; begin += kSquareSide) {  // square by square, so that both sides stay in the nearest cache
      const std::int64_t end = std::min(columns, begin + kSquareSide);
      for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t k = begin; k < end; ++k) to[k * to_stride + i] = from[i * stride + k];
      }
    }
  }
}

}  // namespace dmoerm::nn
