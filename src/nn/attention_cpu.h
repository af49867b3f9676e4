// Attention for float32 on the CPU: it works on tiles of queries, keeps their scores in a buffer that fits the cache, and takes
// matrix products from the BLAS of libtorch.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/attention_plan.h"
#include "nn/attention_tensors.h"
#include "nn/ops_cpu.h"

namespace dmoerm::nn {

namespace cpu {
/// Like nn::attention() and nn::attention_backward(), for matrices that takes() accepts.
Attended attention(const Qkv& in, const AttentionPlan& plan);
void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d);
}  // namespace cpu

}  // namespace dmoerm::nn
