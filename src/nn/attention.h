// Attention over a packed batch: every response sees its group's shared prefix and its own tokens, nothing else.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "data/packed_batch.h"

namespace dmoerm::nn {

/// Queries that see the same keys: all of `prefix`, then `own`. The queries are the last `q_count` places of `own` (decoders:
/// query i sees own keys up to its place) or any rows of it (encoders: all keys).
struct AttentionItem {
  std::int64_t q_begin = 0, q_count = 0;  ///< rows of the query matrix
  data::Span prefix, own;                 ///< rows of the key and value matrices
};

/// Items that share keys through one prefix; clusters share nothing, so they run in parallel.
using AttentionCluster = std::vector<AttentionItem>;

struct AttentionPlan {
  std::vector<AttentionCluster> clusters;
  bool causal = true;
};

/// Every row is a query.
AttentionPlan plan_all_rows(const data::PackedBatch& batch, bool causal);
/// Only each response's read row is a query: query row i belongs to response i.
AttentionPlan plan_read_rows(const data::PackedBatch& batch, bool causal);

/// Heads of the query and key matrices; columns are heads of head_dim.
struct HeadShape {
  std::int64_t heads = 1, kv_heads = 1, head_dim = 1;
};

/// softmax(q k' / sqrt(head_dim)) v for each head, grouped heads sharing keys (GQA). Rows may be strided.
/// @param lse_HT  receives log-sum-exp of each query's scores, [heads, query rows], float32
/// @return [query rows, heads * head_dim]
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan,
                     const HeadShape& shape, at::Tensor* lse_HT);

/// Gradients of attention(). dq is overwritten; dk and dv must be zeros; they are float32, as many responses add to the keys of
/// one prefix. Rows may be strided.
void attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& out, const at::Tensor& lse_HT, const AttentionPlan& plan, const HeadShape& shape,
                        at::Tensor dq, at::Tensor dk, at::Tensor dv);

}  // namespace dmoerm::nn
