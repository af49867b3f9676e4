// The norm of a gradient, whose bits do not depend on how the ranks share the gradient.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dmoerm::train {

/// Elements per block of a norm's sum. Squares are summed over each block and then over the blocks in order, so that buffers that
/// are cut at blocks give the same sum.
constexpr std::int64_t kNormBlock = 1 << 12;
/// The sum of squares of each block of a flat float32 buffer, float64, on the buffer's device. A block's sum depends on nothing
/// else.
at::Tensor block_squares(const at::Tensor& gradient);
/// Like block_squares(), by few operations that GPUs are quick at; on any device. A reduction on a GPU chooses its order by the
/// shape, so every call has the same one, filled up with zeros.
at::Tensor block_squares_in_chunks(const at::Tensor& gradient);
/// Euclidean norm over all buffers, summed in float64 in a fixed order.
double gradient_norm(const std::vector<at::Tensor>& gradients);

}  // namespace dmoerm::train
