#include "nn/attention.h"

#include <ATen/record_function.h>

#include "nn/attention_cpu.h"
#include "nn/attention_flash.h"
#include "nn/attention_generic.h"
#include "nn/attention_parts.h"

namespace dmoerm::nn {

Attended attention(const Qkv& in, const AttentionPlan& plan) {
  RECORD_FUNCTION("nn::attention", {});
  if (flash::takes(in.q, plan)) return flash::attention(in, plan);
  const bool here = cpu::takes(in.q) && cpu::takes(in.k_TC) && cpu::takes(in.v_TC);
  return (here ? cpu::attention : generic::attention)(in, plan);
}

void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d) {
  RECORD_FUNCTION("nn::attention_backward", {});
  if (flash::takes(in.q, plan)) return combine_gradients(flash::attention_backward(dout, in, result, plan), {}, {}, d);
  const bool here = cpu::takes(in.q) && cpu::takes(dout) && cpu::takes(d.q) && cpu::takes(d.k_TC) && cpu::takes(d.v_TC);
  (here ? cpu::attention_backward : generic::attention_backward)(dout, in, result, plan, d);
}

}  // namespace dmoerm::nn
