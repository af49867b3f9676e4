#include "nn/encoder_layer.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>

#include "nn/projection.h"

namespace dmoerm::nn {
namespace {

const char* gelu_kind(const BackboneSpec& spec) { return spec.tanh_gelu ? "tanh" : "none"; }

NormWeights norm1_of(const LayerWeights& weights) { return {weights.norm1_w, weights.norm1_b}; }
NormWeights norm2_of(const LayerWeights& weights) { return {weights.norm2_w, weights.norm2_b}; }

}  // namespace

at::Tensor encoder_forward(const LayerCall& call, const at::Tensor& x_TD, LayerSaved* saved) {
  const BackboneSpec& spec = call.spec;
  const LayerWeights& w = call.weights;
  LayerSaved s;
  s.x_TD = x_TD;
  const bool steady = saved == nullptr;
  s.qkv = project_qkv(call, x_TD, steady);
  s.attended = attention(s.qkv, call.attention());
  s.sum1 = layer_linear(s.attended.out, call.o(), steady).add_(call.leaving(x_TD));
  const Normed first = layer_norm(s.sum1, norm1_of(w), spec.norm_eps);
  s.h = first.y_TD;
  s.stats1 = first.stats;
  s.up = layer_linear(s.h, call.up(), steady);
  const at::Tensor act = at::gelu(s.up, gelu_kind(spec));
  s.sum2 = layer_linear(act, call.down(), steady).add_(s.h);
  const Normed second = layer_norm(s.sum2, norm2_of(w), spec.norm_eps);
  s.stats2 = second.stats;
  if (saved != nullptr) *saved = std::move(s);
  return second.y_TD;
}

at::Tensor encoder_backward(const LayerCall& call, const at::Tensor& dy, const LayerSaved& s, const LayerGradients& gradients) {
  const BackboneSpec& spec = call.spec;
  const LayerWeights& w = call.weights;
  LayerWeights* g = gradients.weights;
  const NormWeights none;
  const at::Tensor dsum2 = layer_norm_backward(dy, s.sum2, norm2_of(w), s.stats2, g != nullptr ? norm2_of(*g) : none);
  const at::Tensor dup = at::gelu_backward(times(dsum2, w.down_w), s.up, gelu_kind(spec));
  if (g != nullptr) {
    add_linear_gradient(dsum2, at::gelu(s.up, gelu_kind(spec)), g->down_w, g->down_b);
    add_linear_gradient(dup, s.h, g->up_w, g->up_b);
  }
  const at::Tensor dh = times(dup, w.up_w).add_(dsum2);
  const at::Tensor dsum1 = layer_norm_backward(dh, s.sum1, norm1_of(w), s.stats1, g != nullptr ? norm1_of(*g) : none);
  if (g != nullptr) add_linear_gradient(dsum1, s.attended.out, g->o_w, g->o_b);
  const Qkv d = empty_qkv(call, s.x_TD.size(0), dy.options());
  attention_backward(times(dsum1, w.o_w), s.qkv, s.attended, call.attention(), d);
  at::Tensor dx_TD = project_qkv_backward(call, s.x_TD, d, gradients);
  if (!dx_TD.defined()) return {};
  return call.ends_at_reads ? dx_TD.index_add_(0, call.batch.read_rows_R, dsum1) : dx_TD.add_(dsum1);
}

}  // namespace dmoerm::nn
