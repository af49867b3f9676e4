#include "nn/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/record_function.h>

#include <optional>

#include "nn/device.h"
#include "nn/ops_cpu.h"
#include "nn/ops_cuda.h"
#include "nn/ops_generic.h"

namespace dmoerm::nn {

at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b) {
  const bool narrow = a.scalar_type() != at::kFloat && computes_in_bfloat16(a.device());  // older GPUs have no such product
  return (narrow ? cuda::product_in_float : generic::product_in_float)(a, b);
}

void add_rows(const at::Tensor& table, const at::Tensor& index, const at::Tensor& rows) {
  if (table.is_cpu()) {
    table.index_add_(0, index, rows);
  } else {  // where index_add_() has no fixed order
    table.index_put_(c10::List<std::optional<at::Tensor>>({index}), rows, /*accumulate=*/true);
  }
}

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T) {
  RECORD_FUNCTION("nn::rms_norm", {});
  if (cuda::takes_norm({x_TD, w_D})) return cuda::rms_norm(x_TD, w_D, eps, rstd_T);
  return (cpu::takes(x_TD) ? cpu::rms_norm : generic::rms_norm)(x_TD, w_D, eps, rstd_T);
}

at::Tensor rms_norm_of_sum(const at::Tensor& x_TD, const at::Tensor& r_TD, const at::Tensor& w_D, double eps, at::Tensor* sum_TD,
                           at::Tensor* rstd_T) {
  RECORD_FUNCTION("nn::rms_norm_of_sum", {});
  if (cuda::takes_norm({x_TD, r_TD, w_D})) return cuda::rms_norm_of_sum(x_TD, r_TD, w_D, eps, sum_TD, rstd_T);
  *sum_TD = x_TD + r_TD;
  return rms_norm(*sum_TD, w_D, eps, rstd_T);
}

at::Tensor rms_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const at::Tensor& w_D, const at::Tensor& rstd_T,
                             const at::Tensor& residual_TD, const at::Tensor& grad_w_D) {
  RECORD_FUNCTION("nn::rms_norm_backward", {});
  if (grad_w_D.defined()) grad_w_D.add_((dy_TD.to(at::kFloat) * x_TD * rstd_T.unsqueeze(-1)).sum(0));
  if (cuda::takes_norm({x_TD, dy_TD, w_D, residual_TD})) return cuda::rms_norm_backward(dy_TD, x_TD, w_D, rstd_T, residual_TD);
  const bool loops = cpu::takes(x_TD) && dy_TD.is_contiguous() && (!residual_TD.defined() || residual_TD.is_contiguous());
  return (loops ? cpu::rms_norm_backward : generic::rms_norm_backward)(dy_TD, x_TD, w_D, rstd_T, residual_TD);
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
  RECORD_FUNCTION("nn::swiglu", {});
  if (cuda::takes({gate_up_T2F})) return cuda::swiglu(gate_up_T2F);
  return (cpu::takes(gate_up_T2F) ? cpu::swiglu : generic::swiglu)(gate_up_T2F);
}

at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF) {
  RECORD_FUNCTION("nn::swiglu_backward", {});
  if (cuda::takes({gate_up_T2F, dact_TF})) return cuda::swiglu_backward(dact_TF, gate_up_T2F, act_TF);
  const bool loops = cpu::takes(gate_up_T2F) && dact_TF.is_contiguous();
  return (loops ? cpu::swiglu_backward : generic::swiglu_backward)(dact_TF, gate_up_T2F, act_TF);
}

void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse) {
  RECORD_FUNCTION("nn::rotate", {});
  if (cuda::takes_heads(x_TD, cos_TE, sin_TE)) return cuda::rotate(std::move(x_TD), cos_TE, sin_TE, inverse);
  (cpu::takes(x_TD) ? cpu::rotate : generic::rotate)(std::move(x_TD), cos_TE, sin_TE, inverse);
}

at::Tensor dropout(const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row) {
  RECORD_FUNCTION("nn::dropout", {});
  if (cuda::takes({x_TD})) return cuda::dropout(x_TD, p, key, first_row);
  return (cpu::takes(x_TD) ? cpu::dropout : generic::dropout)(x_TD, p, key, first_row);
}

void add_dropout(at::Tensor sum_TD, const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row) {
  RECORD_FUNCTION("nn::add_dropout", {});
  if (cuda::takes({sum_TD, x_TD})) return cuda::add_dropout(std::move(sum_TD), x_TD, p, key, first_row);
  sum_TD.add_(dropout(x_TD, p, key, first_row));
}

}  // namespace dmoerm::nn
