// Attention for float32 on the CPU: tiles of queries, scores in a scratch that stays in cache, products by the BLAS that libtorch
// brings.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/attention_plan.h"

namespace dmoerm::nn {

namespace cpu {
/// Whether a matrix can be computed here: float32, on the CPU, rows without gaps between their columns.
bool takes(const at::Tensor& x);
/// As nn::attention() and nn::attention_backward(), for matrices that takes() says yes to.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan,
                     const HeadShape& shape, at::Tensor* lse_HT);
void attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& out, const at::Tensor& lse_HT, const AttentionPlan& plan, const HeadShape& shape,
                        at::Tensor dq, at::Tensor dk, at::Tensor dv);
}  // namespace cpu

}  // namespace dmoerm::nn
