// Attention on a GPU by libtorch's flash kernels, in bfloat16: two calls for a whole batch, whatever it holds. In
// the first, each prefix and each response is a sequence that sees its own rows. In the second, the queries of a group see its
// prefix. Their results are merged by their log-sum-exps. Nothing is gathered, copied or masked.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "nn/attention_plan.h"
#include "nn/attention_tensors.h"

namespace dmoerm::nn::flash {

/// The sequences of one call, in the order of their rows: queries [q[i], q[i + 1]) see keys [k[i], k[i + 1]). Rows that the call
/// leaves out are sequences without keys or without queries.
struct Offsets {
  std::vector<std::int32_t> q = {0}, k = {0};
  std::int64_t q_longest = 2;  ///< At least 2: with 1 libtorch takes a path that wants exactly one query in every sequence
  std::int64_t k_longest = 1;
};

/// Offsets of both calls.
struct PlanOffsets {
  Offsets own, prefix;
  bool prefixed = false;  ///< Whether any query sees a prefix; else the second call is left out
};
/// @param queries, keys  rows of the query and key matrices
PlanOffsets offsets_of(const AttentionPlan& plan, std::int64_t queries, std::int64_t keys);

/// Whether flash kernels take these queries: on a GPU that computes in it, in bfloat16, with a plan whose offsets are on the GPU.
bool takes(const at::Tensor& q, const AttentionPlan& plan);

/// Like nn::attention(). `plan.sequences` are on the tensors' device.
Attended attention(const Qkv& in, const AttentionPlan& plan);

/// Gradients of attention() in the dtype of `in`, each contiguous: what each call adds to them, of which the second is undefined
/// where no query sees a prefix. Deterministic.
std::array<Qkv, 2> attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan);

}  // namespace dmoerm::nn::flash
