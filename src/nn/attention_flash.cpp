#include "nn/attention_flash.h"

#include <ATen/Context.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/error.h"
#include "nn/attention_parts.h"
#include "nn/device.h"

namespace dmoerm::nn::flash {
namespace {

/// Queries and the keys that they see.
struct Sequence {
  std::int64_t q_begin, q_count, k_begin, k_count;
  auto operator<=>(const Sequence&) const = default;
};

void push(Offsets& offsets, std::int64_t q_end, std::int64_t k_end) {
  DMOERM_CHECK(q_end >= offsets.q.back() && k_end >= offsets.k.back(), "sequences are in the order of their rows");
  offsets.q_longest = std::max(offsets.q_longest, q_end - offsets.q.back());
  offsets.k_longest = std::max(offsets.k_longest, k_end - offsets.k.back());
  offsets.q.push_back(static_cast<std::int32_t>(q_end));
  offsets.k.push_back(static_cast<std::int32_t>(k_end));
}

/// Leaves out the rows up to these.
void skip(Offsets& offsets, std::int64_t q_begin, std::int64_t k_begin) {
  if (q_begin > offsets.q.back()) push(offsets, q_begin, offsets.k.back());
  if (k_begin > offsets.k.back()) push(offsets, offsets.q.back(), k_begin);
}

Offsets offsets_of(std::vector<Sequence> sequences, std::int64_t queries, std::int64_t keys) {
  std::ranges::sort(sequences);  // a plan's clusters are not in the order of rows
  Offsets offsets;
  for (const Sequence& s : sequences) {
    skip(offsets, s.q_begin, s.k_begin);
    push(offsets, s.q_begin + s.q_count, s.k_begin + s.k_count);
  }
  skip(offsets, queries, keys);
  return offsets;
}

/// Rows of heads, without a copy.
at::Tensor heads_of(const at::Tensor& x, std::int64_t heads) { return x.unflatten(1, {heads, x.size(1) / heads}); }

/// Queries, keys and values as the kernels take them, [rows, heads, head_dim].
struct Heads {
  Heads(const Qkv& in, const HeadShape& shape)
      : q(heads_of(in.q, shape.heads)),
        k(heads_of(in.k_TC, shape.kv_heads)),
        v(heads_of(in.v_TC, shape.kv_heads)),
        scale(1.0 / std::sqrt(static_cast<double>(shape.head_dim))) {}
  at::Tensor q, k, v;
  double scale;
};

/// What the queries get from the keys of one call, and the log-sum-exp of their scores: +infinity where they see none.
Attended call(const Heads& in, const Sequences& s, bool causal) {
  auto [out, lse, seed, offset, mask] =
      at::_flash_attention_forward(in.q, in.k, in.v, s.q, s.k, s.q_longest, s.k_longest, 0.0, causal, false, in.scale);
  return {out.flatten(1), lse};
}

/// What libtorch's context says of fixed sums.
struct FixedSums {
  bool on = false, warns = false, fills = false;
};

/// Adds up dq in a fixed order while it lives; without it the kernel adds with atomic operations. The setting is one of the whole
/// process: where threads train beside each other, the first sets it and the last one puts back what was before.
class Deterministic {
 public:
  Deterministic() {
    const std::scoped_lock lock(mutex_);
    if (living_++ > 0) return;
    at::Context& context = at::globalContext();
    before_ = {context.deterministicAlgorithms(), context.deterministicAlgorithmsWarnOnly(),
               context.deterministicFillUninitializedMemory()};
    context.setDeterministicFillUninitializedMemory(false);  // else every new tensor costs a kernel
    context.setDeterministicAlgorithms(true, false);
  }
  ~Deterministic() {
    const std::scoped_lock lock(mutex_);
    if (--living_ > 0) return;
    at::globalContext().setDeterministicAlgorithms(before_.on, before_.warns);
    at::globalContext().setDeterministicFillUninitializedMemory(before_.fills);
  }
  Deterministic(const Deterministic&) = delete;
  Deterministic& operator=(const Deterministic&) = delete;

 private:
  static inline std::mutex mutex_;
  static inline int living_ = 0;
  static inline FixedSums before_;
};

}  // namespace

PlanOffsets offsets_of(const AttentionPlan& plan, std::int64_t queries, std::int64_t keys) {
  std::vector<Sequence> own, prefix;
  for (const AttentionCluster& cluster : plan.clusters) {
    std::int64_t first = -1, last = 0;  // queries that see the cluster's prefix
    data::Span shared;
    for (const AttentionItem& item : cluster) {
      own.push_back({item.q_begin, item.q_count, item.own.begin, item.own.length});
      if (item.prefix.length == 0) continue;
      if (first < 0) first = item.q_begin;
      last = item.q_begin + item.q_count, shared = item.prefix;
    }
    if (first >= 0) prefix.push_back({first, last - first, shared.begin, shared.length});
  }
  const bool prefixed = !prefix.empty();
  return {offsets_of(std::move(own), queries, keys), prefixed ? offsets_of(std::move(prefix), queries, keys) : Offsets{},
          prefixed};
}

bool takes(const at::Tensor& q, const AttentionPlan& plan) {
  return q.is_cuda() && q.scalar_type() == at::kBFloat16 && plan.sequences[0].q.defined() && plan.shape.head_dim % 8 == 0 &&
         plan.shape.head_dim <= 256 && computes_in_bfloat16(q.device());
}

Attended attention(const Qkv& in, const AttentionPlan& plan) {
  const Heads heads(in, plan.shape);
  const auto& [own, prefix] = plan.sequences;
  Attended result = call(heads, own, plan.causal);
  if (prefix.q.defined()) result = merge_halves(result, call(heads, prefix, false), plan.shape.heads);
  return result;
}

std::array<Qkv, 2> attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan) {
  const Heads heads(in, plan.shape);
  const at::Tensor g = heads_of(dout, plan.shape.heads), out = heads_of(result.out, plan.shape.heads),
                   none = at::empty({0}, dout.options().dtype(at::kLong));
  const Deterministic while_adding;
  const auto gradients = [&](const Sequences& s, bool causal) -> Qkv {
    // With the merged result and log-sum-exp, each call's probabilities are shares of the whole.
    const auto [dq, dk, dv] = at::_flash_attention_backward(g, heads.q, heads.k, heads.v, out, result.lse_HT, s.q, s.k,
                                                            s.q_longest, s.k_longest, 0.0, causal, none, none, heads.scale);
    return {dq.flatten(1), dk.flatten(1), dv.flatten(1)};
  };
  const auto& [own, prefix] = plan.sequences;
  return {gradients(own, plan.causal), prefix.q.defined() ? gradients(prefix, false) : Qkv{}};
}

}  // namespace dmoerm::nn::flash
