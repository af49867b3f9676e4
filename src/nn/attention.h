// Attention over a packed batch: every response sees its group's shared prefix and its own tokens, nothing else.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/attention_plan.h"

namespace dmoerm::nn {

/// softmax(q k' / sqrt(head_dim)) v for each head; grouped heads share keys (GQA). Rows may be strided.
/// @param lse_HT  receives log-sum-exp of each query's scores, [heads, query rows], float32
/// @return [query rows, heads * head_dim]
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan,
                     const HeadShape& shape, at::Tensor* lse_HT);

/// Gradients of attention(). dq is overwritten. dk and dv must be zeros, and are float32 because many responses add to the keys
/// of one prefix. Rows may be strided.
void attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& out, const at::Tensor& lse_HT, const AttentionPlan& plan, const HeadShape& shape,
                        at::Tensor dq, at::Tensor dk, at::Tensor dv);

}  // namespace dmoerm::nn
