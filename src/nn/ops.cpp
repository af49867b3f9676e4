#include "nn/ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include <cmath>

#include "base/rng.h"
#include "nn/simd_math.h"

namespace dmoerm::nn {
namespace {

bool cpu_float(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat && x.stride(-1) == 1; }

/// Rows per task, enough to be worth a thread.
std::int64_t grain(std::int64_t width) { return std::max<std::int64_t>(1, 16384 / width); }

constexpr std::uint32_t kGolden = 0x9e3779b9U, kMix1 = 0x85ebca6bU, kMix2 = 0xc2b2ae35U;

std::uint32_t row_key(std::uint64_t key, std::int64_t row) {
  return static_cast<std::uint32_t>(mix64(key + static_cast<std::uint64_t>(row)));
}

/// The elements that dropout()'s loop drops, computed by ATen operations on the rows' device; int32 wraps like uint32.
at::Tensor dropped(std::int64_t rows, std::int64_t columns, std::uint32_t threshold, std::uint64_t key, std::int64_t first_row,
                   at::Device device) {
  const auto signed_ = [](std::uint32_t u) { return static_cast<std::int64_t>(static_cast<std::int32_t>(u)); };
  const at::TensorOptions whole = at::TensorOptions().dtype(at::kInt);
  const at::Tensor keys = at::empty({rows, 1}, whole);
  for (std::int64_t t = 0; t < rows; ++t)
    keys.data_ptr<std::int32_t>()[t] = static_cast<std::int32_t>(row_key(key, first_row + t));
  at::Tensor h = keys.to(device) + at::arange(columns, whole.device(device)) * signed_(kGolden);
  const auto mix = [&](std::int64_t bits) {  // h ^= h >> bits, with a logical shift
    h.bitwise_xor_(at::bitwise_right_shift(h, bits).bitwise_and_((std::int64_t{1} << (32 - bits)) - 1));
  };
  mix(16);
  h.mul_(signed_(kMix1));
  mix(13);
  h.mul_(signed_(kMix2));
  mix(16);
  return h.bitwise_xor_(signed_(0x80000000U)) < signed_(threshold ^ 0x80000000U);  // unsigned order
}

}  // namespace

at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_cuda() && a.scalar_type() != at::kFloat) return a.dim() == 2 ? at::mm(a, b, at::kFloat) : at::bmm(a, b, at::kFloat);
  return at::matmul(a.to(at::kFloat), b.to(at::kFloat));
}

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T) {
  const std::int64_t rows = x_TD.size(0), d = x_TD.size(1);
  if (!cpu_float(x_TD)) {
    const at::Tensor x = x_TD.to(at::kFloat);
    const at::Tensor rstd = at::rsqrt((x * x).mean(-1, true) + eps);
    if (rstd_T != nullptr) *rstd_T = rstd.squeeze(-1);
    return (x * rstd).to(x_TD.scalar_type()) * w_D;
  }
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
                             const at::Tensor& residual_TD, const at::Tensor& grad_w_D) {
  if (grad_w_D.defined()) grad_w_D.add_((dy_TD.to(at::kFloat) * x_TD * rstd_T.unsqueeze(-1)).sum(0));
  const std::int64_t rows = x_TD.size(0), d = x_TD.size(1);
  if (!cpu_float(x_TD) || !dy_TD.is_contiguous() || (residual_TD.defined() && !residual_TD.is_contiguous())) {
    const at::Tensor x = x_TD.to(at::kFloat), dn = dy_TD.to(at::kFloat) * w_D, rstd = rstd_T.unsqueeze(-1);
    at::Tensor dx = rstd * (dn - x * (rstd * rstd) * (dn * x).mean(-1, true));
    if (residual_TD.defined()) dx += residual_TD;
    return dx.to(x_TD.scalar_type());
  }
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

Normed layer_norm(const at::Tensor& x_TD, const NormWeights& weights, double eps) {
  auto [y, mean, rstd] =
      at::native_layer_norm(x_TD.to(at::kFloat), {x_TD.size(1)}, weights.w_D.to(at::kFloat), weights.b_D.to(at::kFloat), eps);
  return {y.to(x_TD.scalar_type()), {mean, rstd}};
}

at::Tensor layer_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const NormWeights& weights,
                               const RowStatistics& stats, const NormWeights& sinks) {
  const bool wanted = sinks.w_D.defined();
  auto [dx, dw, db] =
      at::native_layer_norm_backward(dy_TD.to(at::kFloat), x_TD.to(at::kFloat), {x_TD.size(1)}, stats.mean_T, stats.rstd_T,
                                     weights.w_D.to(at::kFloat), weights.b_D.to(at::kFloat), {true, wanted, wanted});
  if (wanted) sinks.w_D.add_(dw), sinks.b_D.add_(db);
  return dx.to(x_TD.scalar_type());
}

at::Tensor swiglu(const at::Tensor& gate_up_T2F) {
  const std::int64_t rows = gate_up_T2F.size(0), f = gate_up_T2F.size(1) / 2;
  if (!cpu_float(gate_up_T2F)) return at::silu(gate_up_T2F.narrow(1, 0, f)) * gate_up_T2F.narrow(1, f, f);
  at::Tensor act_TF = at::empty({rows, f}, gate_up_T2F.options());
  const float* gu = gate_up_T2F.const_data_ptr<float>();
  float* act = act_TF.data_ptr<float>();
  at::parallel_for(0, rows, grain(f), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float *gate = gu + t * 2 * f, *up = gate + f;
#pragma omp simd
      for (std::int64_t i = 0; i < f; ++i) act[t * f + i] = gate[i] * fast_sigmoid(gate[i]) * up[i];
    }
  });
  return act_TF;
}

at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF) {
  const std::int64_t rows = gate_up_T2F.size(0), f = gate_up_T2F.size(1) / 2;
  if (!cpu_float(gate_up_T2F) || !dact_TF.is_contiguous()) {
    const at::Tensor gate = gate_up_T2F.narrow(1, 0, f).to(at::kFloat), up = gate_up_T2F.narrow(1, f, f);
    const at::Tensor s = at::sigmoid(gate), silu = gate * s;
    if (act_TF != nullptr) *act_TF = (silu * up).to(gate_up_T2F.scalar_type());
    return at::cat({dact_TF * up * s * (1 + gate * (1 - s)), dact_TF * silu}, 1).to(gate_up_T2F.scalar_type());
  }
  at::Tensor dgu_T2F = at::empty({rows, 2 * f}, gate_up_T2F.options());
  if (act_TF != nullptr) *act_TF = at::empty({rows, f}, gate_up_T2F.options());
  const float *da = dact_TF.const_data_ptr<float>(), *gu = gate_up_T2F.const_data_ptr<float>();
  float *dgu = dgu_T2F.data_ptr<float>(), *act = act_TF != nullptr ? act_TF->data_ptr<float>() : nullptr;
  at::parallel_for(0, rows, grain(2 * f), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float *gate = gu + t * 2 * f, *up = gate + f, *dat = da + t * f;
      float *dgate = dgu + t * 2 * f, *dup = dgate + f;
#pragma omp simd
      for (std::int64_t i = 0; i < f; ++i) {
        const float s = fast_sigmoid(gate[i]), silu = gate[i] * s;
        dgate[i] = dat[i] * up[i] * s * (1.0F + gate[i] * (1.0F - s));
        dup[i] = dat[i] * silu;
      }
      if (act != nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < f; ++i) act[t * f + i] = gate[i] * fast_sigmoid(gate[i]) * up[i];
      }
    }
  });
  return dgu_T2F;
}

void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse) {
  const std::int64_t rows = x_TD.size(0), half = cos_TE.size(1), heads = x_TD.size(1) / (2 * half);
  if (!cpu_float(x_TD)) {
    const at::Tensor x = x_TD.view({rows, heads, 2, half});
    const auto wide = [](const at::Tensor& half_of_x) { return half_of_x.to(at::kFloat, false, /*copy=*/true); };
    const at::Tensor a = wide(x.select(2, 0)), b = wide(x.select(2, 1));
    const at::Tensor c = cos_TE.unsqueeze(1), s = (inverse ? -sin_TE : sin_TE).unsqueeze(1);
    x.select(2, 0).copy_(a * c - b * s);
    x.select(2, 1).copy_(b * c + a * s);
    return;
  }
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
  const auto threshold = static_cast<std::uint32_t>(p * 4294967296.0);
  const auto keep = static_cast<float>(1.0 / (1.0 - p));
  if (!cpu_float(x_TD)) return (x_TD * keep).masked_fill_(dropped(rows, d, threshold, key, first_row, x_TD.device()), 0);
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

}  // namespace dmoerm::nn
