// Attention for float32 on processors with wide registers: keys are laid out in panels once, for all queries and responses that
// see them.
#pragma once
#include "nn/attention_plan.h"
#include "nn/attention_tensors.h"

namespace dmoerm::nn::cpu {

/// Like nn::attention() and nn::attention_backward(), for matrices that takes() accepts and heads of a multiple of kPanel
/// columns.
Attended attention_by_panels(const Qkv& in, const AttentionPlan& plan);
void attention_backward_by_panels(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan,
                                  const Qkv& d);

}  // namespace dmoerm::nn::cpu
