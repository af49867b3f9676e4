// What the two calls of flash attention leave to do: merging their results, and adding up their gradients.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "nn/attention_tensors.h"

namespace dmoerm::nn {

/// Attention over two disjoint sets of keys, merged into attention over both.
/// @param own     out is [rows, heads * head_dim], contiguous, lse_HT [heads, rows] in float32; each query saw a key
/// @param prefix  likewise, but a log-sum-exp of plus infinity says that the query saw no key of this set
Attended merge_halves(const Attended& own, const Attended& prefix, std::int64_t heads);

/// The gradients of projections from those of attention: the sum of its calls' parts, rotated back.
/// @param parts  contiguous; the second is undefined if there was one call
/// @param d  receives the sums; its rows may be strided
void combine_gradients(const std::array<Qkv, 2>& parts, const Turns& q, const Turns& k, const Qkv& d);

}  // namespace dmoerm::nn
