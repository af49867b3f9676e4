#include "nn/attention_generic.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>

#include "nn/ops.h"

namespace dmoerm::nn {

namespace generic {
namespace {

/// Columns of one item as [heads, rows, head_dim], keys and values repeated for their query heads.
struct ItemTensors {
  at::Tensor q, k, v, hidden;  ///< hidden: [q rows, keys], true where a query must not see a key
};

at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) { return x.reshape({x.size(0), heads, -1}).transpose(0, 1); }

at::Tensor keys_of(const at::Tensor& x, const AttentionItem& item) {
  const at::Tensor own = x.narrow(0, item.own.begin, item.own.length);
  return item.prefix.length == 0 ? own : at::cat({x.narrow(0, item.prefix.begin, item.prefix.length), own});
}

ItemTensors gather(const Qkv& in, const AttentionItem& item, const AttentionPlan& plan) {
  const HeadShape& shape = plan.shape;
  const std::int64_t repeat = shape.heads / shape.kv_heads, keys = item.prefix.length + item.own.length;
  const auto expand = [&](const at::Tensor& x) {
    return split_heads(keys_of(x, item), shape.kv_heads).repeat_interleave(repeat, 0);
  };
  at::Tensor hidden = at::ones({item.q_count, keys}, in.q.options().dtype(at::kBool));
  hidden = plan.causal ? hidden.triu(keys - item.q_count + 1) : hidden.logical_not();
  return {split_heads(in.q.narrow(0, item.q_begin, item.q_count), shape.heads), expand(in.k_TC), expand(in.v_TC), hidden};
}

at::Tensor scores_of(const ItemTensors& t, const HeadShape& shape) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  return (product_in_float(t.q, t.k.transpose(1, 2)) * scale).masked_fill(t.hidden, -std::numeric_limits<double>::infinity());
}

at::Tensor join_heads(const at::Tensor& x) { return x.transpose(0, 1).reshape({x.size(1), -1}); }

}  // namespace

Attended attention(const Qkv& in, const AttentionPlan& plan) {
  const HeadShape& shape = plan.shape;
  const std::int64_t queries = in.q.size(0);
  Attended result{at::empty({queries, shape.heads * shape.head_dim}, in.q.options()),
                  at::empty({shape.heads, queries}, in.q.options().dtype(at::kFloat))};
  for (const AttentionCluster& cluster : plan.clusters) {
    for (const AttentionItem& item : cluster) {
      const ItemTensors t = gather(in, item, plan);
      const at::Tensor scores = scores_of(t, shape);
      const at::Tensor p = at::softmax(scores, -1).to(t.v.scalar_type());
      result.out.narrow(0, item.q_begin, item.q_count).copy_(join_heads(at::matmul(p, t.v)));
      result.lse_HT.narrow(1, item.q_begin, item.q_count).copy_(at::logsumexp(scores, {-1}));
    }
  }
  return result;
}

void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d) {
  const HeadShape& shape = plan.shape;
  const double scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  const std::int64_t repeat = shape.heads / shape.kv_heads;
  const auto add_keys = [&](const at::Tensor& sink, const at::Tensor& grad_heads, const AttentionItem& item) {
    const at::Tensor grad =
        join_heads(grad_heads.reshape({shape.kv_heads, repeat, grad_heads.size(1), shape.head_dim}).sum(1, false, at::kFloat));
    if (item.prefix.length > 0) sink.narrow(0, item.prefix.begin, item.prefix.length).add_(grad.narrow(0, 0, item.prefix.length));
    sink.narrow(0, item.own.begin, item.own.length).add_(grad.narrow(0, item.prefix.length, item.own.length));
  };
  for (const AttentionCluster& cluster : plan.clusters) {
    for (const AttentionItem& item : cluster) {
      const ItemTensors t = gather(in, item, plan);
      const at::Tensor p = (scores_of(t, shape) - result.lse_HT.narrow(1, item.q_begin, item.q_count).unsqueeze(-1)).exp();
      const at::Tensor g = split_heads(dout.narrow(0, item.q_begin, item.q_count), shape.heads);
      const at::Tensor o = split_heads(result.out.narrow(0, item.q_begin, item.q_count), shape.heads);
      const at::Tensor slope = (g.to(at::kFloat) * o).sum(-1, true);
      const at::Tensor ds = (p * (product_in_float(g, t.v.transpose(1, 2)) - slope) * scale).to(t.q.scalar_type());
      d.q.narrow(0, item.q_begin, item.q_count).copy_(join_heads(at::matmul(ds, t.k)));
      add_keys(d.k_TC, at::matmul(ds.transpose(1, 2), t.q), item);
      add_keys(d.v_TC, at::matmul(p.to(g.scalar_type()).transpose(1, 2), g), item);
    }
  }
}

}  // namespace generic
}  // namespace dmoerm::nn
