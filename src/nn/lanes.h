// Sixteen floats in the processor's registers, for loops that the compiler would not keep there by itself.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

namespace dmoerm::nn {

inline constexpr std::int64_t kLanes = 16;

/// Sixteen floats, as the processor holds them.
#if defined(__AVX512F__)
struct Lanes {
  __m512 v;
  static Lanes zero() { return {_mm512_setzero_ps()}; }
  static Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Lanes all(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
};
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
#elif defined(__FMA__)
struct Lanes {
  __m256 v, w;
  static Lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Lanes all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v), _mm256_storeu_ps(p + 8, w); }
};
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v), _mm256_fmadd_ps(a.w, b.w, c.w)}; }
#else
struct Lanes {
  float v[kLanes];
  static Lanes zero() { return all(0); }
  static Lanes load(const float* p) {
    Lanes x;
    std::memcpy(x.v, p, sizeof x.v);
    return x;
  }
  static Lanes all(float a) {
    Lanes x;
    std::fill(x.v, x.v + kLanes, a);
    return x;
  }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
};
inline Lanes multiply_add(const Lanes& a, const Lanes& b, Lanes c) {
  for (std::int64_t i = 0; i < kLanes; ++i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}
#endif

/// How many of them a loop sums at once: so many that registers are left for what it multiplies.
#if defined(__AVX512F__)
inline constexpr int kLanesSummed = 24;
#else
inline constexpr int kLanesSummed = 6;  // 12 of 16 registers of 256 bits
#endif

}  // namespace dmoerm::nn
