// Attention over a packed batch: every response sees its group's shared prefix and its own tokens, nothing else.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/attention_plan.h"
#include "nn/attention_tensors.h"

namespace dmoerm::nn {

/// softmax(q k' / sqrt(head_dim)) v for each head; grouped heads share keys (GQA).
Attended attention(const Qkv& in, const AttentionPlan& plan);

/// Gradients of attention().
/// @param result  what attention() returned
/// @param d       receives the gradients: q is overwritten, k and v must be zeros, and are float32 because many responses add to
///                the keys of one prefix
void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d);

}  // namespace dmoerm::nn
