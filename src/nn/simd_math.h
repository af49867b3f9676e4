// Float functions that the compiler vectorises. They spell out fused multiply-adds instead of leaving them to the optimiser.
#pragma once
#include <bit>
#include <cstdint>

namespace dmoerm::nn {

/// e^x for x <= 88, relative error below 2e-7; 0 below -87.
inline float fast_exp(float x) {
  constexpr float kLog2e = 1.44269504088896341F, kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  const float clamped = x < -87.0F ? -87.0F : x;
  const float n = __builtin_floorf(__builtin_fmaf(clamped, kLog2e, 0.5F));
  float r = __builtin_fmaf(n, -kLn2High, clamped);
  r = __builtin_fmaf(n, -kLn2Low, r);
  float p = 1.9875691500e-4F;
  p = __builtin_fmaf(p, r, 1.3981999507e-3F);
  p = __builtin_fmaf(p, r, 8.3334519073e-3F);
  p = __builtin_fmaf(p, r, 4.1665795894e-2F);
  p = __builtin_fmaf(p, r, 1.6666665459e-1F);
  p = __builtin_fmaf(p, r, 5.0000001201e-1F);
  p = __builtin_fmaf(p * r, r, r) + 1.0F;
  const float scale = std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
  return x < -87.0F ? 0.0F : p * scale;
}

/// 1 / (1 + e^-x)
inline float fast_sigmoid(float x) {
  const float e = fast_exp(x < 0 ? x : -x);  // in (0, 1], never overflows
  const float s = 1.0F / (1.0F + e);
  return x < 0 ? e * s : s;
}

/// act = silu(gate) * up, for `count` numbers.
inline void swiglu_numbers(const float* gate, const float* up, std::int64_t count, float* act) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) act[i] = gate[i] * fast_sigmoid(gate[i]) * up[i];
}

/// Gradients of swiglu_numbers() in gate and up. @param dact  gradient in act; may be dgate itself
inline void swiglu_gradients(const float* dact, const float* gate, const float* up, std::int64_t count, float* dgate,
                             float* dup) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float d = dact[i], s = fast_sigmoid(gate[i]), silu = gate[i] * s;
    dgate[i] = d * up[i] * s * (1.0F + gate[i] * (1.0F - s));
    dup[i] = d * silu;
  }
}

}  // namespace dmoerm::nn
