#include "nn/decoder_layer.h"

#include <ATen/ops/cat.h>

#include "nn/attention_flash.h"
#include "nn/attention_parts.h"
#include "nn/projection.h"

namespace dmoerm::nn {
namespace {

/// Qwen3's norm of each head of q or k; rows [T, heads * head_dim] seen as [T * heads, head_dim].
at::Tensor norm_heads(const at::Tensor& x, const at::Tensor& w, double eps) {
  return rms_norm(x.reshape({-1, w.size(0)}), w, eps, nullptr).view({x.size(0), -1});
}

at::Tensor norm_heads_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& w, double eps,
                               const at::Tensor& grad_w) {
  const at::Tensor heads = x.reshape({-1, w.size(0)});
  at::Tensor rstd;
  rms_norm(heads, w, eps, &rstd);
  return rms_norm_backward(dy.reshape({-1, w.size(0)}), heads, w, rstd, {}, grad_w).view({x.size(0), -1});
}

/// The residual stream after attention, s.h, and its norm. On a GPU the norm adds, so that the product need not copy the stream.
at::Tensor join_attention(const LayerCall& call, const at::Tensor& x, LayerSaved& s, bool steady) {
  const LayerWeights& w = call.weights;
  const double eps = call.spec.norm_eps;
  if (x.is_cuda()) return rms_norm_of_sum(x, linear(s.attended.out, w.o_w, w.o_b, steady), w.norm2_w, eps, &s.h, &s.rstd2);
  s.h = layer_linear(s.attended.out, call.o(), steady, x);
  return rms_norm(s.h, w.norm2_w, eps, &s.rstd2);
}

Turns turns_of_queries(const LayerCall& call) { return {call.leaving(call.batch.cos_TE), call.leaving(call.batch.sin_TE)}; }

/// Rotate queries and keys. Where they lie side by side they are one matrix.
void rotate_queries_and_keys(const LayerCall& call, const Qkv& qkv) {
  const std::int64_t q = qkv.q.size(1), kv = qkv.k_TC.size(1), stride = qkv.q.stride(0);
  const bool together = !call.ends_at_reads && !call.spec.qk_norm;
  const at::Tensor first = together ? qkv.q.as_strided({qkv.q.size(0), q + kv}, {stride, 1}) : qkv.q;
  const Turns turns = turns_of_queries(call);
  rotate(first, turns.cos, turns.sin, false);
  if (!together) rotate(qkv.k_TC, call.batch.cos_TE, call.batch.sin_TE, false);
}

/// Gradients in what project_qkv() made, from that in attention's result.
/// @param g  receives the gradients in Qwen3's norms of heads unless it is null
Qkv qkv_gradients(const LayerCall& call, const at::Tensor& dout, const LayerSaved& s, const LayerWeights* g) {
  const BackboneSpec& spec = call.spec;
  const LayerWeights& w = call.weights;
  const Turns q_turns = turns_of_queries(call), k_turns{call.batch.cos_TE, call.batch.sin_TE};
  if (flash::takes(s.qkv.q, call.attention()) && !spec.qk_norm) {
    const Qkv d = qkv_buffer(call, s.x_TD.size(0), dout.options());
    combine_gradients(flash::attention_backward(dout, s.qkv, s.attended, call.attention()), q_turns, k_turns, d);
    return d;
  }
  const Qkv d = empty_qkv(call, s.x_TD.size(0), dout.options());
  attention_backward(dout, s.qkv, s.attended, call.attention(), d);
  rotate(d.q, q_turns.cos, q_turns.sin, true);
  rotate(d.k_TC, k_turns.cos, k_turns.sin, true);
  if (!spec.qk_norm) return d;
  const at::Tensor none, q_raw = s.qk_raw.narrow(0, 0, d.q.numel()).view(d.q.sizes()),
                         k_raw = s.qk_raw.narrow(0, d.q.numel(), d.k_TC.numel()).view(d.k_TC.sizes());
  d.q.copy_(norm_heads_backward(d.q, q_raw, w.q_norm_w, spec.norm_eps, g != nullptr ? g->q_norm_w : none));
  d.k_TC.copy_(norm_heads_backward(d.k_TC, k_raw, w.k_norm_w, spec.norm_eps, g != nullptr ? g->k_norm_w : none));
  return d;
}

/// The MLP of normed rows, added to s.h. In inference nobody reads s.up, which may stay undefined then.
at::Tensor mlp(const LayerCall& call, const at::Tensor& n2, LayerSaved& s, bool steady) {
  const LayerWeights& w = call.weights;
  const Int8Layer* in_int8 = call.in_int8;
  if (in_int8 != nullptr && steady && takes_gated_mlp(n2.size(0), in_int8->up))
    return gated_mlp(Int8Rows(n2), {in_int8->up, w.up_b}, {in_int8->down, w.down_b}, s.h);
  const Gated gated = gated_linear(n2, call.up(), steady);
  s.up = gated.up;
  return layer_linear(gated.act, call.down(), steady, s.h);
}

}  // namespace

at::Tensor decoder_forward(const LayerCall& call, const at::Tensor& x_TD, LayerSaved* saved) {
  const BackboneSpec& spec = call.spec;
  const LayerWeights& w = call.weights;
  LayerSaved s;
  s.x_TD = x_TD;
  const bool steady = saved == nullptr;
  const at::Tensor n1_TD = rms_norm(x_TD, w.norm1_w, spec.norm_eps, &s.rstd1);
  s.qkv = project_qkv(call, n1_TD, steady);
  Qkv& qkv = s.qkv;
  if (spec.qk_norm) {
    s.qk_raw = at::cat({qkv.q.reshape({-1}), qkv.k_TC.reshape({-1})});
    qkv.q = norm_heads(qkv.q, w.q_norm_w, spec.norm_eps);
    qkv.k_TC = norm_heads(qkv.k_TC, w.k_norm_w, spec.norm_eps);
  }
  rotate_queries_and_keys(call, qkv);
  s.attended = attention(qkv, call.attention());
  at::Tensor y = mlp(call, join_attention(call, call.leaving(x_TD), s, steady), s, steady);
  if (saved != nullptr) *saved = std::move(s);
  return y;
}

at::Tensor decoder_backward(const LayerCall& call, const at::Tensor& dy, const LayerSaved& s, const LayerGradients& gradients) {
  const BackboneSpec& spec = call.spec;
  const LayerWeights& w = call.weights;
  LayerWeights* g = gradients.weights;
  at::Tensor none, dh;
  {
    at::Tensor act;
    const at::Tensor dup = gated_linear_backward(dy, w.down_w, s.up, g != nullptr ? &act : nullptr);
    if (g != nullptr) {
      add_linear_gradient(dy, act, g->down_w, g->down_b);
      add_linear_gradient(dup, rms_norm(s.h, w.norm2_w, spec.norm_eps, nullptr), g->up_w, g->up_b);
    }
    dh = rms_norm_backward(times(dup, w.up_w), s.h, w.norm2_w, s.rstd2, dy, g != nullptr ? g->norm2_w : none);
  }
  if (g != nullptr) add_linear_gradient(dh, s.attended.out, g->o_w, g->o_b);
  const Qkv d = qkv_gradients(call, times(dh, w.o_w), s, g);
  const at::Tensor n1_TD = rms_norm(s.x_TD, w.norm1_w, spec.norm_eps, nullptr);
  LayerGradients below = gradients;
  below.input = gradients.input || g != nullptr;  // the gradient of the norm's weight needs it too
  const at::Tensor dn_TD = project_qkv_backward(call, n1_TD, d, below);
  if (!dn_TD.defined()) return {};
  at::Tensor dx_TD =
      rms_norm_backward(dn_TD, s.x_TD, w.norm1_w, s.rstd1, call.ends_at_reads ? none : dh, g != nullptr ? g->norm1_w : none);
  if (call.ends_at_reads) dx_TD.index_add_(0, call.batch.read_rows_R, dh);
  return dx_TD;
}

}  // namespace dmoerm::nn
