#include "train/gradient_norm.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "nn/transfer.h"

namespace dmoerm::train {
namespace {

at::Tensor squares_on_host(const at::Tensor& gradient) {
  const std::int64_t size = gradient.numel();
  const at::Tensor squares = at::empty({(size + kNormBlock - 1) / kNormBlock}, at::TensorOptions().dtype(at::kDouble));
  const float* g = gradient.const_data_ptr<float>();
  auto* sum = squares.data_ptr<double>();
  for (std::int64_t begin = 0; begin < size; begin += kNormBlock) {
    const std::int64_t end = std::min(begin + kNormBlock, size);
    double block = 0;
#pragma omp simd reduction(+ : block)
    for (std::int64_t j = begin; j < end; ++j) block += static_cast<double>(g[j]) * static_cast<double>(g[j]);
    *sum++ = block;
  }
  return squares;
}

}  // namespace

at::Tensor block_squares_in_chunks(const std::vector<at::Tensor>& gradients) {
  constexpr std::int64_t kBlocks = 4096, kChunk = kBlocks * kNormBlock;
  const at::Tensor chunk = at::zeros({kChunk}, gradients.front().options().dtype(at::kDouble));
  std::vector<at::Tensor> squares;
  std::int64_t filled = 0;  // blocks of the chunk
  const auto reduce = [&] {
    squares.push_back(at::linalg_vector_norm(chunk.view({kBlocks, kNormBlock}), 2, {1}).square_().narrow(0, 0, filled));
    filled = 0;
  };
  for (const at::Tensor& gradient : gradients) {
    const std::int64_t size = gradient.numel();
    for (std::int64_t begin = 0; begin < size;) {
      if (filled == kBlocks) {
        reduce();
        if (size - begin < kChunk) chunk.zero_();
      }
      const std::int64_t count = std::min(size - begin, (kBlocks - filled) * kNormBlock);
      chunk.narrow(0, filled * kNormBlock, count).copy_(gradient.narrow(0, begin, count));
      filled += (count + kNormBlock - 1) / kNormBlock;
      begin += count;
    }
  }
  if (filled > 0 || squares.empty()) reduce();
  return squares.size() == 1 ? squares.front() : at::cat(squares);
}

at::Tensor block_squares(const std::vector<at::Tensor>& gradients) {
  if (!gradients.front().is_cpu()) return block_squares_in_chunks(gradients);
  std::vector<at::Tensor> squares;
  for (const at::Tensor& gradient : gradients) squares.push_back(squares_on_host(gradient));
  return at::cat(squares);
}

double gradient_norm(const std::vector<at::Tensor>& gradients) {
  const at::Tensor blocks = nn::download(block_squares(gradients));
  double sum = 0;
  for (std::int64_t i = 0; i < blocks.numel(); ++i) sum += blocks.const_data_ptr<double>()[i];
  return std::sqrt(sum);
}

}  // namespace dmoerm::train
