// The inner loop of products in eight bits: some rows with a panel of 32 outputs. Within a block of inputs whole numbers are
// summed, which every processor finds alike; the blocks' sums are added as float32 in their order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "nn/panel_sum.h"

namespace dmoerm::nn {

inline constexpr std::int64_t kQuad = 4;        // inputs that lie side by side in a panel, whose products one instruction adds
inline constexpr std::int64_t kBlock = 96;      // inputs that share the scale of a row: 24 quads
inline constexpr std::int32_t kByteZero = 128;  // the byte of a row that stands for 0

/// A block of rows as the loops read it. @param scales  of the first row; `scale_stride` from row to row
struct ByteBlock {
  const std::uint8_t* bytes;
  std::int64_t stride;
  const float* scales;
  std::int64_t scale_stride;
};

/// sums[r, o] += scale[r] * (start[o] + sum over the block's inputs of x[r, input] * panel[input, o]), by plain loops. The
/// product and the sum outside of the brackets are one fused operation.
/// @param x      [rows, 4 * quads], of which each number is a byte from 0 to 255
/// @param panel  [quads, kPanel, kQuad], of which each number is a byte from -127 to 127; at most kBlock / kQuad quads
/// @param start  [kPanel]
template <int kRows>
void add_block_plain(const ByteBlock& x, const std::int8_t* panel, const std::int32_t* start, std::int64_t quads,
                     float (*sums)[kPanel]) {
  for (int i = 0; i < kRows; ++i) {
    alignas(64) std::int32_t whole[kPanel];
    std::copy_n(start, kPanel, whole);
    for (std::int64_t q = 0; q < quads; ++q) {
      const std::uint8_t* own = x.bytes + i * x.stride + q * kQuad;
      const std::int8_t* weights = panel + q * kPanel * kQuad;
#pragma omp simd
      for (std::int64_t o = 0; o < kPanel; ++o) {
        const std::int8_t* w = weights + o * kQuad;
        whole[o] += own[0] * w[0] + own[1] * w[1] + own[2] * w[2] + own[3] * w[3];
      }
    }
    const float scale = x.scales[i * x.scale_stride];
#pragma omp simd
    for (std::int64_t o = 0; o < kPanel; ++o) sums[i][o] = __builtin_fmaf(static_cast<float>(whole[o]), scale, sums[i][o]);
  }
}

#if defined(__AVX512VNNI__)
/// sums += the products of each four bytes. As an instruction in words, because g++ 12 makes copies of the sums around the
/// intrinsic function, for which there are not enough registers.
inline void add_products(__m512i& sums, __m512i bytes, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(bytes), "v"(weights));
}
#elif defined(__AVX2__) && defined(__FMA__)
/// For rows whose numbers were widened to 16 bits, in steps of eight outputs: one instruction adds two products.
template <int kRows>
void add_widened(const std::int16_t (*x)[kBlock], const std::int8_t* panel, const std::int32_t* start, std::int64_t quads,
                 const ByteBlock& of, float (*sums)[kPanel]) {
  constexpr std::int64_t kOutputs = 8;
  for (std::int64_t begin = 0; begin < kPanel; begin += kOutputs) {
    __m256i low[kRows], high[kRows];  // outputs 0 to 3 and 4 to 7, two sums for each
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) low[i] = high[i] = _mm256_setzero_si256();
    for (std::int64_t q = 0; q < quads; ++q) {
      const auto* weights = reinterpret_cast<const __m128i*>(panel + (q * kPanel + begin) * kQuad);
      const __m256i w_low = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights)),
                    w_high = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights + 1));
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) {
        std::int64_t four = 0;
        std::memcpy(&four, x[i] + q * kQuad, sizeof four);
        const __m256i own = _mm256_set1_epi64x(four);
        low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(own, w_low));
        high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(own, w_high));
      }
    }
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start + begin));
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const __m256i whole = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low[i], high[i]), _MM_SHUFFLE(3, 1, 2, 0));
      const __m256 scale = _mm256_set1_ps(of.scales[i * of.scale_stride]);
      float* to = sums[i] + begin;
      _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(first, whole)), scale, _mm256_loadu_ps(to)));
    }
  }
}
#endif

/// add_block_plain() by instructions of the processor (AVX-512 VNNI, or else AVX2) where it has them, with the same bits.
template <int kRows>
void add_block(const ByteBlock& x, const std::int8_t* panel, const std::int32_t* start, std::int64_t quads,
               float (*sums)[kPanel]) {
#if defined(__AVX512VNNI__)
  __m512i low[kRows], high[kRows];
  const __m512i low_start = _mm512_loadu_si512(start), high_start = _mm512_loadu_si512(start + 16);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) low[i] = low_start, high[i] = high_start;
  for (std::int64_t q = 0; q < quads; ++q) {
    const std::int8_t* weights = panel + q * kPanel * kQuad;
    const __m512i w_low = _mm512_loadu_si512(weights), w_high = _mm512_loadu_si512(weights + 64);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      std::int32_t four = 0;
      std::memcpy(&four, x.bytes + i * x.stride + q * kQuad, sizeof four);
      const __m512i own = _mm512_set1_epi32(four);
      add_products(low[i], own, w_low);
      add_products(high[i], own, w_high);
    }
  }
  constexpr __mmask16 kAll = 0xFFFF;  // without a mask g++ 12 warns about its own header
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const __m512 scale = _mm512_set1_ps(x.scales[i * x.scale_stride]);
    _mm512_storeu_ps(sums[i], _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(kAll, low[i]), scale, _mm512_loadu_ps(sums[i])));
    _mm512_storeu_ps(sums[i] + 16,
                     _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(kAll, high[i]), scale, _mm512_loadu_ps(sums[i] + 16)));
  }
#elif defined(__AVX2__) && defined(__FMA__)
  constexpr int kMost = 6;  // rows whose sums fit into 12 registers
  std::int16_t wide[kRows][kBlock];
  for (int i = 0; i < kRows; ++i) std::copy_n(x.bytes + i * x.stride, quads * kQuad, wide[i]);
  if constexpr (kRows <= kMost) {
    add_widened<kRows>(wide, panel, start, quads, x, sums);
  } else {
    static_assert(kRows == 2 * kMost);
    add_widened<kMost>(wide, panel, start, quads, x, sums);
    add_widened<kMost>(wide + kMost, panel, start, quads,
                       {x.bytes + kMost * x.stride, x.stride, x.scales + kMost * x.scale_stride, x.scale_stride}, sums + kMost);
  }
#else
  add_block_plain<kRows>(x, panel, start, quads, sums);
#endif
}

}  // namespace dmoerm::nn
