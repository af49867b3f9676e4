#include "nn/attention.h"

#include <array>

#include "nn/attention_cpu.h"
#include "nn/attention_flash.h"
#include "nn/attention_generic.h"

namespace dmoerm::nn {
namespace {

/// Sums what the calls of flash kernels add to each gradient, in float32.
void add_up(const std::array<Qkv, 2>& parts, const Qkv& d) {
  const auto sum = [](const at::Tensor& sink, const at::Tensor& own, const at::Tensor& prefix) {
    sink.copy_(own);
    if (prefix.defined()) sink.add_(prefix);
  };
  sum(d.q, parts[0].q, parts[1].q);
  sum(d.k_TC, parts[0].k_TC, parts[1].k_TC);
  sum(d.v_TC, parts[0].v_TC, parts[1].v_TC);
}

}  // namespace

Attended attention(const Qkv& in, const AttentionPlan& plan) {
  if (flash::takes(in.q, plan)) return flash::attention(in, plan);
  const bool here = cpu::takes(in.q) && cpu::takes(in.k_TC) && cpu::takes(in.v_TC);
  return (here ? cpu::attention : generic::attention)(in, plan);
}

void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d) {
  if (flash::takes(in.q, plan)) return add_up(flash::attention_backward(dout, in, result, plan), d);
  const bool here = cpu::takes(in.q) && cpu::takes(dout) && cpu::takes(d.q) && cpu::takes(d.k_TC) && cpu::takes(d.v_TC);
  (here ? cpu::attention_backward : generic::attention_backward)(dout, in, result, plan, d);
}

}  // namespace dmoerm::nn
