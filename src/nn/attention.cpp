#include "nn/attention.h"

#include "nn/attention_cpu.h"
#include "nn/attention_generic.h"

namespace dmoerm::nn {

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan,
                     const HeadShape& shape, at::Tensor* lse_HT) {
  const bool here = cpu::takes(q) && cpu::takes(k) && cpu::takes(v);
  return here ? cpu::attention(q, k, v, plan, shape, lse_HT) : generic::attention(q, k, v, plan, shape, lse_HT);
}

void attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& out, const at::Tensor& lse_HT, const AttentionPlan& plan, const HeadShape& shape,
                        at::Tensor dq, at::Tensor dk, at::Tensor dv) {
  const bool here = cpu::takes(q) && cpu::takes(dout) && cpu::takes(dq) && cpu::takes(dk) && cpu::takes(dv);
  (here ? cpu::attention_backward : generic::attention_backward)(dout, q, k, v, out, lse_HT, plan, shape, dq, dk, dv);
}

}  // namespace dmoerm::nn
