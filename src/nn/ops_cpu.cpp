#include "nn/ops_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <cmath>

#include "nn/dropout_hash.h"
#include "nn/simd_math.h"

namespace dmoerm::nn::cpu {
namespace {

/// Rows per task, enough to be worth a thread.
std::int64_t grain(std::int64_t width) { return std::max<std::int64_t>(1, 16384 / width); }

}  // namespace

bool takes(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat && x.stride(1) == 1; }

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T) {
  const std::int64_t rows = x_TD.size(0), d = x_TD.size(1);
  at::Tensor y_TD = at::empty({rows, d}, x_TD.options());
  at::Tensor rstd = at::empty({rows}, x_TD.options());
  const float *x = x_TD.const_data_ptr<float>(), *w = w_D.const_data_ptr<float>();
  float *y = y_TD.data_ptr<float>(), *r = rstd.data_ptr<float>();
  const std::int64_t stride = x_TD.stride(0);
  at::parallel_for(0, rows, grain(d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = x + t * stride;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < d; ++i) sum += row[i] * row[i];
      const float scale = 1.0F / std::sqrt(sum / static_cast<float>(d) + static_cast<float>(eps));
      r[t] = scale;
#pragma omp simd
      for (std::int64_t i = 0; i < d; ++i) y[t * d + i] = row[i] * scale * w[i];
    }
  });
  if (rstd_T != nullptr) *rstd_T = rstd;
  return y_TD;
}

at::Tensor rms_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const at::Tensor& w_D, const at::Tensor& rstd_T,
                             const at::Tensor& residual_TD) {
  const std::int64_t rows = x_TD.size(0), d = x_TD.size(1);
  at::Tensor dx_TD = at::empty({rows, d}, x_TD.options());
  const float *dy = dy_TD.const_data_ptr<float>(), *x = x_TD.const_data_ptr<float>(), *w = w_D.const_data_ptr<float>(),
              *r = rstd_T.const_data_ptr<float>();
  const float* residual = residual_TD.defined() ? residual_TD.const_data_ptr<float>() : nullptr;
  float* dx = dx_TD.data_ptr<float>();
  const std::int64_t stride = x_TD.stride(0);
  at::parallel_for(0, rows, grain(d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float *dyt = dy + t * d, *xt = x + t * stride;
      float* dxt = dx + t * d;
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (std::int64_t i = 0; i < d; ++i) dot += dyt[i] * w[i] * xt[i];
      const float scale = r[t], shrink = dot / static_cast<float>(d) * scale * scale;
      if (residual == nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < d; ++i) dxt[i] = scale * (dyt[i] * w[i] - xt[i] * shrink);
      } else {
        const float* past = residual + t * d;
#pragma omp simd
        for (std::int64_t i = 0; i < d; ++i) dxt[i] = past[i] + scale * (dyt[i] * w[i] - xt[i] * shrink);
      }
    }
  });
  return dx_TD;
}

at::Tensor swiglu(const at::Tensor& gate_up_T2F) {
  const std::int64_t rows = gate_up_T2F.size(0), f = gate_up_T2F.size(1) / 2;
  at::Tensor act_TF = at::empty({rows, f}, gate_up_T2F.options());
  const float* gu = gate_up_T2F.const_data_ptr<float>();
  float* act = act_TF.data_ptr<float>();
  at::parallel_for(0, rows, grain(f), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* gate = gu + t * 2 * f;
      swiglu_numbers(gate, gate + f, f, act + t * f);
    }
  });
  return act_TF;
}

at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF) {
  const std::int64_t rows = gate_up_T2F.size(0), f = gate_up_T2F.size(1) / 2;
  at::Tensor dgu_T2F = at::empty({rows, 2 * f}, gate_up_T2F.options());
  if (act_TF != nullptr) *act_TF = at::empty({rows, f}, gate_up_T2F.options());
  const float *da = dact_TF.const_data_ptr<float>(), *gu = gate_up_T2F.const_data_ptr<float>();
  float *dgu = dgu_T2F.data_ptr<float>(), *act = act_TF != nullptr ? act_TF->data_ptr<float>() : nullptr;
  at::parallel_for(0, rows, grain(2 * f), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* gate = gu + t * 2 * f;
      float* dgate = dgu + t * 2 * f;
      swiglu_gradients(da + t * f, gate, gate + f, f, dgate, dgate + f);
      if (act != nullptr) swiglu_numbers(gate, gate + f, f, act + t * f);
    }
  });
  return dgu_T2F;
}

void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse) {
  const std::int64_t rows = x_TD.size(0), half = cos_TE.size(1), heads = x_TD.size(1) / (2 * half);
  float* x = x_TD.data_ptr<float>();
  const float *cos = cos_TE.const_data_ptr<float>(), *sin = sin_TE.const_data_ptr<float>();
  const std::int64_t stride = x_TD.stride(0);
  const float sign = inverse ? -1.0F : 1.0F;
  at::parallel_for(0, rows, grain(x_TD.size(1)), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float *c = cos + t * half, *s = sin + t * half;
      for (std::int64_t h = 0; h < heads; ++h) {
        float *a = x + t * stride + h * 2 * half, *b = a + half;
#pragma omp simd
        for (std::int64_t i = 0; i < half; ++i) {
          const float u = a[i], v = b[i], sine = sign * s[i];
          a[i] = u * c[i] - v * sine;
          b[i] = v * c[i] + u * sine;
        }
      }
    }
  });
}

at::Tensor dropout(const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row) {
  const std::int64_t rows = x_TD.size(0), d = x_TD.size(1);
  const std::uint32_t threshold = dropout_threshold(p);
  const auto keep = static_cast<float>(1.0 / (1.0 - p));
  at::Tensor y_TD = at::empty({rows, d}, x_TD.options());
  const float* x = x_TD.const_data_ptr<float>();
  float* y = y_TD.data_ptr<float>();
  const std::int64_t stride = x_TD.stride(0);
  at::parallel_for(0, rows, grain(d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::uint32_t of_row = row_key(key, first_row + t);
      const float* row = x + t * stride;
#pragma omp simd
      for (std::int64_t i = 0; i < d; ++i) {
        std::uint32_t h = of_row + static_cast<std::uint32_t>(i) * kGolden;  // murmur3's finaliser
        h = (h ^ (h >> 16)) * kMix1;
        h = (h ^ (h >> 13)) * kMix2;
        h ^= h >> 16;
        y[t * d + i] = h < threshold ? 0.0F : row[i] * keep;
      }
    }
  });
  return y_TD;
}

}  // namespace dmoerm::nn::cpu
