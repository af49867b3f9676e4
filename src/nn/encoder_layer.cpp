#include "nn/encoder_layer.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mm.h>

#include "nn/ops.h"
#include "nn/projection.h"

namespace dmoerm::nn {
namespace {

const char* gelu_kind(const BackboneSpec& spec) { return spec.tanh_gelu ? "tanh" : "none"; }

HeadShape heads_of(const BackboneSpec& spec) { return {spec.heads, spec.kv_heads, spec.head_dim}; }

}  // namespace

at::Tensor encoder_forward(const BackboneSpec& spec, const LayerWeights& w, const LayerBatch& batch, std::size_t layer,
                           bool ends_at_reads, const at::Tensor& x_TD, LayerSaved* saved) {
  LayerSaved s;
  s.x_TD = x_TD;
  const bool steady = saved == nullptr;
  const Qkv qkv = project_qkv(spec, w, batch, layer, ends_at_reads, x_TD, steady);
  s.q = qkv.q;
  s.k_TC = qkv.k_TC;
  s.v_TC = qkv.v_TC;
  s.attended = attention(s.q, s.k_TC, s.v_TC, ends_at_reads ? batch.reads : batch.all, heads_of(spec), &s.lse_HT);
  s.sum1 = linear(s.attended, w.o_w, w.o_b, steady).add_(ends_at_reads ? x_TD.index_select(0, batch.read_rows_R) : x_TD);
  const Normed first = layer_norm(s.sum1, w.norm1_w, w.norm1_b, spec.norm_eps);
  s.h = first.y;
  s.mean1 = first.mean;
  s.rstd1 = first.rstd;
  s.up = linear(s.h, w.up_w, w.up_b, steady);
  s.sum2 = linear(at::gelu(s.up, gelu_kind(spec)), w.down_w, w.down_b, steady).add_(s.h);
  const Normed second = layer_norm(s.sum2, w.norm2_w, w.norm2_b, spec.norm_eps);
  s.mean2 = second.mean;
  s.rstd2 = second.rstd;
  if (saved != nullptr) *saved = std::move(s);
  return second.y;
}

at::Tensor encoder_backward(const BackboneSpec& spec, const LayerWeights& w, const LayerBatch& batch, std::size_t layer,
                            bool ends_at_reads, const at::Tensor& dy, const LayerSaved& s, const LayerGradients& gradients) {
  LayerWeights* g = gradients.weights;
  const at::Tensor none;
  const at::Tensor dsum2 = layer_norm_backward(dy, s.sum2, w.norm2_w, w.norm2_b, s.mean2, s.rstd2,
                                               g != nullptr ? g->norm2_w : none, g != nullptr ? g->norm2_b : none);
  const at::Tensor dup = at::gelu_backward(at::mm(dsum2, w.down_w), s.up, gelu_kind(spec));
  if (g != nullptr) {
    add_linear_gradient(dsum2, at::gelu(s.up, gelu_kind(spec)), g->down_w, g->down_b);
    add_linear_gradient(dup, s.h, g->up_w, g->up_b);
  }
  const at::Tensor dh = at::mm(dup, w.up_w).add_(dsum2);
  const at::Tensor dsum1 = layer_norm_backward(dh, s.sum1, w.norm1_w, w.norm1_b, s.mean1, s.rstd1,
                                               g != nullptr ? g->norm1_w : none, g != nullptr ? g->norm1_b : none);
  if (g != nullptr) add_linear_gradient(dsum1, s.attended, g->o_w, g->o_b);
  Qkv d = empty_qkv(spec, s.x_TD.size(0), s.q.size(0), ends_at_reads, dy.options());
  attention_backward(at::mm(dsum1, w.o_w), s.q, s.k_TC, s.v_TC, s.attended, s.lse_HT, ends_at_reads ? batch.reads : batch.all,
                     heads_of(spec), d.q, d.k_TC, d.v_TC);
  at::Tensor dx_TD = project_qkv_backward(spec, w, batch, layer, ends_at_reads, s.x_TD, d, gradients);
  if (!dx_TD.defined()) return {};
  return ends_at_reads ? dx_TD.index_add_(0, batch.read_rows_R, dsum1) : dx_TD.add_(dsum1);
}

}  // namespace dmoerm::nn
