// The elementwise passes of a decoder layer, fused. Shapes: T rows (tokens), D width, F intermediate width. Each goes one of
// three ways: loops for float32 on the CPU (ops_cpu.h), what CUDA has for it (ops_cuda.h), or ATen operations for any device
// and dtype (ops_generic.h), with which the tests compare the others.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dmoerm::nn {

/// The product a b in float32, never rounded to the factors' dtype. Both are matrices, or both are batches of them.
at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b);

/// table[index] += rows, with repeated indices added in a fixed order, on GPUs too. @param index  int64
void add_rows(const at::Tensor& table, const at::Tensor& index, const at::Tensor& rows);

/// Root-mean-square norm: y = x / sqrt(mean(x^2) + eps) * w.
/// @param rstd_T  receives 1 / sqrt(mean(x^2) + eps) of each row; may be null
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T);

/// The norm of x + r. @param sum_TD  receives the sum, rounded to the dtype of x; @param rstd_T  as above, not null
at::Tensor rms_norm_of_sum(const at::Tensor& x_TD, const at::Tensor& r_TD, const at::Tensor& w_D, double eps, at::Tensor* sum_TD,
                           at::Tensor* rstd_T);

/// Gradient of rms_norm() in x, plus `residual_TD` if defined (the gradient that bypasses the norm).
/// @param grad_w_D  if defined, the gradient in w is added to it
at::Tensor rms_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const at::Tensor& w_D, const at::Tensor& rstd_T,
                             const at::Tensor& residual_TD, const at::Tensor& grad_w_D);

/// Weight and bias of a layer norm, or their gradients.
struct NormWeights {
  at::Tensor w_D, b_D;
};
/// Mean and 1 / standard deviation of each row, float32.
struct RowStatistics {
  at::Tensor mean_T, rstd_T;
};
struct Normed {
  at::Tensor y_TD;
  RowStatistics stats;
};
Normed layer_norm(const at::Tensor& x_TD, const NormWeights& weights, double eps);
/// Gradient of layer_norm() in x. @param sinks  the gradients in w and b are added to these; undefined ones are skipped
at::Tensor layer_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const NormWeights& weights,
                               const RowStatistics& stats, const NormWeights& sinks);

/// silu(gate) * up; gate_up holds the gate in columns [0, F) and up in [F, 2F).
at::Tensor swiglu(const at::Tensor& gate_up_T2F);
/// Gradient of swiglu() in gate_up. @param act_TF  if not null, receives swiglu(gate_up) as well
at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF);

/// Rotate the halves of each head in place (rotary position embedding): columns of `x` are heads of 2 * cos.size(1).
/// @param cos_TE, sin_TE  [T, head_dim / 2] for the rows of x
/// @param inverse  true for the backward pass: rotates the other way
void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse);

/// x * mask / (1 - p), where element i of row t is kept unless a hash of (key, first_row + t, i) falls below p. The same key
/// gives the same mask.
at::Tensor dropout(const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row);
/// Adds dropout(x) to `sum_TD`.
void add_dropout(at::Tensor sum_TD, const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row);

}  // namespace dmoerm::nn
