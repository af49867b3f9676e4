// The norm of a gradient, whose bits do not depend on how the ranks share the gradient.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dmoerm::train {

/// Elements per block of a norm's sum. Squares are summed over each block and then over the blocks in order, so that buffers that
/// are cut at blocks give the same sum.
constexpr std::int64_t kNormBlock = 1 << 12;
/// The sum of squares of each block of some flat float32 buffers, in their order, float64, on the buffers' device. A block's sum
/// depends on nothing else. @param gradients  at least one
at::Tensor block_squares(const std::vector<at::Tensor>& gradients);
/// Like block_squares(), by few operations that GPUs are quick at; on any device. A reduction on a GPU chooses its order by the
/// shape, so every call has the same one, filled up with zeros. Buffers share a reduction.
at::Tensor block_squares_in_chunks(const std::vector<at::Tensor>& gradients);
/// Euclidean norm over all buffers, summed in float64 in a fixed order.
double gradient_norm(const std::vector<at::Tensor>& gradients);

}  // namespace dmoerm::train
