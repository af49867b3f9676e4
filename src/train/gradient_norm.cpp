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

at::Tensor block_squares_in_chunks(const at::Tensor& gradient) {
  constexpr std::int64_t kBlocks = 4096, kChunk = kBlocks * kNormBlock;
  const std::int64_t size = gradient.numel();
  const at::Tensor chunk = at::zeros({kChunk}, gradient.options().dtype(at::kDouble));
  std::vector<at::Tensor> squares;
  for (std::int64_t begin = 0; begin < size; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, size - begin), blocks = (count + kNormBlock - 1) / kNormBlock;
    if (begin > 0 && count < kChunk) chunk.zero_();
    chunk.narrow(0, 0, count).copy_(gradient.narrow(0, begin, count));
    squares.push_back(at::linalg_vector_norm(chunk.view({kBlocks, kNormBlock}), 2, {1}).square_().narrow(0, 0, blocks));
  }
  return squares.size() == 1 ? squares.front() : squares.empty() ? chunk.narrow(0, 0, 0) : at::cat(squares);
}

at::Tensor block_squares(const at::Tensor& gradient) {
  return gradient.is_cpu() ? squares_on_host(gradient) : block_squares_in_chunks(gradient);
}

double gradient_norm(const std::vector<at::Tensor>& gradients) {
  std::vector<at::Tensor> squares;
  for (const at::Tensor& gradient : gradients) squares.push_back(block_squares(gradient));
  const at::Tensor blocks = nn::download(at::cat(squares));
  double sum = 0;
  for (std::int64_t i = 0; i < blocks.numel(); ++i) sum += blocks.const_data_ptr<double>()[i];
  return std::sqrt(sum);
}

}  // namespace dmoerm::train
