// Linear layers of a transformer layer, with the adapters on q and v.
#pragma once
#include "nn/layer.h"

namespace dmoerm::nn {

/// Fewest rows of a product whose rows shall not depend on how many there are. MKL computes products of fewer rows by other
/// kernels, which sum in another order: up to 3 rows on one thread, up to 11 on two.
constexpr std::int64_t kSteadyRows = 12;
/// `x`, on a CPU with rows of zeros up to kSteadyRows if `steady`.
at::Tensor steady_rows(const at::Tensor& x, bool steady);

/// x w' + b; b may be undefined.
/// @param steady  whether a row of the result shall have the same bits whatever rows are beside it (inference)
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b, bool steady = false);
/// x w' + b (+ residual); the residual may be undefined. In inference on a CPU it is a product of panel_product.h where that is
/// fast; with weights in eight bits it is one of int8_product.h, which is always steady.
at::Tensor layer_linear(const at::Tensor& x, const Linear& by, bool steady, const at::Tensor& residual = {});
/// What an MLP with gates computes before its last product.
struct Gated {
  at::Tensor up;   ///< gate and up, side by side
  at::Tensor act;  ///< swiglu(up)
};
/// layer_linear() of the rows, and swiglu() of that.
Gated gated_linear(const at::Tensor& x, const Linear& by, bool steady);
/// Gradient in gate and up: swiglu_backward(dy w, up). @param act  as there
at::Tensor gated_linear_backward(const at::Tensor& dy, const at::Tensor& w, const at::Tensor& up, at::Tensor* act);
/// x w
at::Tensor times(const at::Tensor& x, const at::Tensor& w);
/// dw += dy' x and db += sum of dy over rows, both float32; undefined sinks are skipped.
void add_linear_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor& dw, at::Tensor& db);

/// Queries, keys and values of the (normed) rows, adapters included; queries only of the rows that leave the layer.
/// @param steady  as in linear()
Qkv project_qkv(const LayerCall& call, const at::Tensor& n_TD, bool steady);

/// Backward of project_qkv(): adds the gradients of weights and adapters that `gradients` has.
/// @param d  gradients in q, k, v, shaped as project_qkv() made them; k and v side by side in one buffer, and q too
/// if all rows leave the layer
/// @return gradient in n; undefined if nothing needs it
at::Tensor project_qkv_backward(const LayerCall& call, const at::Tensor& n_TD, const Qkv& d, const LayerGradients& gradients);

/// Memory for gradients of q, k, v, laid out as project_qkv_backward() expects them. @param rows  T
Qkv qkv_buffer(const LayerCall& call, std::int64_t rows, const at::TensorOptions& options);
/// The same in float32, with zeros in k and v, to which attention adds.
Qkv empty_qkv(const LayerCall& call, std::int64_t rows, const at::TensorOptions& options);

}  // namespace dmoerm::nn
