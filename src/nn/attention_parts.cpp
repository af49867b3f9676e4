#include "nn/attention_parts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/where.h>

#include <limits>

#include "nn/ops.h"
#include "nn/ops_cuda.h"

namespace dmoerm::nn {
namespace {

void combine(const at::Tensor& own, const at::Tensor& prefix, const Turns& turns, const at::Tensor& sink) {
  at::Tensor sum = own.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  if (prefix.defined()) sum.add_(prefix);
  if (turns.cos.defined()) rotate(sum, turns.cos, turns.sin, true);
  sink.copy_(sum);
}

}  // namespace

Attended merge_halves(const Attended& own, const Attended& prefix, std::int64_t heads) {
  if (cuda::takes({own.out, prefix.out})) return cuda::merge_halves(own, prefix);
  const double inf = std::numeric_limits<double>::infinity();
  const auto by_head = [&](const at::Tensor& out) { return out.unflatten(1, {heads, out.size(1) / heads}); };
  const at::Tensor seen = at::where(prefix.lse_HT == inf, at::full_like(prefix.lse_HT, -inf), prefix.lse_HT);
  const at::Tensor lse_HT = at::logaddexp(own.lse_HT, seen);
  const at::Tensor share = (own.lse_HT - lse_HT).exp().t().unsqueeze(-1);
  const at::Tensor out = by_head(own.out) * share + by_head(prefix.out) * (1 - share);
  return {out.to(own.out.scalar_type()).flatten(1), lse_HT};
}

void combine_gradients(const std::array<Qkv, 2>& parts, const Turns& q, const Turns& k, const Qkv& d) {
  if (cuda::takes_gradients(parts, d)) return cuda::combine_gradients(parts, q, k, d);
  combine(parts[0].q, parts[1].q, q, d.q);
  combine(parts[0].k_TC, parts[1].k_TC, k, d.k_TC);
  combine(parts[0].v_TC, parts[1].v_TC, {}, d.v_TC);
}

}  // namespace dmoerm::nn
