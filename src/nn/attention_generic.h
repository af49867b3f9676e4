// Attention in ATen operations, for any device and dtype; the tests compare other implementations with it.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/attention_plan.h"
#include "nn/attention_tensors.h"

namespace dmoerm::nn {

namespace generic {
/// Like nn::attention() and nn::attention_backward().
Attended attention(const Qkv& in, const AttentionPlan& plan);
void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d);
}  // namespace generic

}  // namespace dmoerm::nn
