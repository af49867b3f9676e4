// Attention in ATen operations, for any device and dtype; the tests compare other implementations with it.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/attention_plan.h"

namespace dmoerm::nn {

namespace generic {
/// Like nn::attention() and nn::attention_backward().
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan,
                     const HeadShape& shape, at::Tensor* lse_HT);
void attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& out, const at::Tensor& lse_HT, const AttentionPlan& plan, const HeadShape& shape,
                        at::Tensor dq, at::Tensor dk, at::Tensor dv);
}  // namespace generic

}  // namespace dmoerm::nn
