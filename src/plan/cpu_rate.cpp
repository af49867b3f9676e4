#include "plan/cpu_rate.h"

#include "plan/cost_model.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#endif

namespace dmoerm::plan {

#if defined(__x86_64__)
namespace {

constexpr int kChains = 12;  // more than latency times units needs, and few enough for 16 registers
constexpr std::int64_t kRounds = 40'000;
constexpr int kBursts = 25;

/// Multiply-adds on registers that depend on nothing but themselves. @return a number that depends on all of them
__attribute__((target("avx512f"))) float burst_512(float start) {
  const __m512 factor = _mm512_set1_ps(0.999999F * start), more = _mm512_set1_ps(1e-6F * start);
  __m512 chains[kChains];
  for (int c = 0; c < kChains; ++c) chains[c] = _mm512_set1_ps(start * static_cast<float>(c));  // no two are the same
  for (std::int64_t r = 0; r < kRounds; ++r) {
#pragma GCC unroll 12
    for (__m512& chain : chains) chain = _mm512_fmadd_ps(chain, factor, more);
  }
  __m512 sum = chains[0];
  for (const __m512& chain : chains) sum = _mm512_add_ps(sum, chain);
  return _mm512_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) float burst_256(float start) {
  const __m256 factor = _mm256_set1_ps(0.999999F * start), more = _mm256_set1_ps(1e-6F * start);
  __m256 chains[kChains];
  for (int c = 0; c < kChains; ++c) chains[c] = _mm256_set1_ps(start * static_cast<float>(c));  // no two are the same
  for (std::int64_t r = 0; r < kRounds; ++r) {
#pragma GCC unroll 12
    for (__m256& chain : chains) chain = _mm256_fmadd_ps(chain, factor, more);
  }
  __m256 sum = chains[0];
  for (const __m256& chain : chains) sum = _mm256_add_ps(sum, chain);
  return _mm256_cvtss_f32(sum);
}

}  // namespace

std::optional<double> multiply_adds_here() {
  const CpuKind kind = cpu_kind_here();
  if (kind == CpuKind::other) return std::nullopt;
  const bool wide = kind == CpuKind::avx512;
  double best_s = 1e9;
  volatile float start = 1.0F;  // so that nothing is computed beforehand
  for (int i = 0; i < kBursts; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const float sum = wide ? burst_512(start) : burst_256(start);
    asm volatile("" : : "x"(sum));  // or left out
    best_s = std::min(best_s, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return 2.0 * (wide ? 16 : 8) * kChains * kRounds / best_s * 1e-12;
}
#else
std::optional<double> multiply_adds_here() { return std::nullopt; }
#endif

}  // namespace dmoerm::plan
