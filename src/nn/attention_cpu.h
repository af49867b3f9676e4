// Attention for float32 on the CPU: it works on tiles of queries, keeps their scores in a buffer that fits the cache, and takes
// matrix products from the BLAS of libtorch.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/attention_plan.h"

namespace dmoerm::nn {

namespace cpu {
/// Whether these functions accept a matrix: float32, on the CPU, with adjacent columns.
bool takes(const at::Tensor& x);
/// Like nn::attention() and nn::attention_backward(), for matrices that takes() accepts.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan,
                     const HeadShape& shape, at::Tensor* lse_HT);
void attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& out, const at::Tensor& lse_HT, const AttentionPlan& plan, const HeadShape& shape,
                        at::Tensor dq, at::Tensor dk, at::Tensor dv);
}  // namespace cpu

}  // namespace dmoerm::nn
