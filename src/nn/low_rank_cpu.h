// The product of a LoRA adapter for float32 on the CPU, in inference. A library is slow at such thin matrices, and rounds a row
// otherwise when other rows are beside it.
#pragma once
#include <ATen/core/Tensor.h>

namespace dmoerm::nn::cpu {

/// out += scale * (x a') b'. Each number is summed in one order, whatever rows are beside its row.
/// @param x    [rows, inputs], float32, with adjacent columns
/// @param a    [rank, inputs]
/// @param b    [outputs, rank]
/// @param out  [rows, outputs], float32, with adjacent columns
void add_low_rank(const at::Tensor& x, const at::Tensor& a, const at::Tensor& b, double scale, const at::Tensor& out);

}  // namespace dmoerm::nn::cpu
