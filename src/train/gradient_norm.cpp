#include "train/gradient_norm.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::train {

std::vector<double> block_squares(const at::Tensor& gradient) {
  const at::Tensor local = gradient.cpu();
  const float* g = local.const_data_ptr<float>();
  std::vector<double> squares;
  for (std::int64_t begin = 0; begin < local.numel(); begin += kNormBlock) {
    const std::int64_t end = std::min(begin + kNormBlock, local.numel());
    double block = 0;
#pragma omp simd reduction(+ : block)
    for (std::int64_t j = begin; j < end; ++j) block += static_cast<double>(g[j]) * static_cast<double>(g[j]);
    squares.push_back(block);
  }
  return squares;
}

double gradient_norm(const std::vector<at::Tensor>& gradients) {
  double sum = 0;
  for (const at::Tensor& gradient : gradients) {
    for (const double block : block_squares(gradient)) sum += block;
  }
  return std::sqrt(sum);
}

}  // namespace dmoerm::train
