// What products in inference share, whatever their numbers: how rows are divided among threads, and where sums go.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

namespace dmoerm::nn {

/// What is added to a product, and where it goes.
struct ProductSink {
  /// @param bias_O       [outputs], or undefined
  /// @param residual_RO  [rows, outputs] with adjacent columns, or undefined
  /// @param out_RO       [rows, outputs], float32, with adjacent columns
  ProductSink(const at::Tensor& bias_O, const at::Tensor& residual_RO, const at::Tensor& out_RO)
      : bias(bias_O.defined() ? bias_O.const_data_ptr<float>() : nullptr),
        residual(residual_RO.defined() ? residual_RO.const_data_ptr<float>() : nullptr),
        residual_stride(residual_RO.defined() ? residual_RO.stride(0) : 0),
        out(out_RO.data_ptr<float>()),
        out_stride(out_RO.stride(0)) {}
  const float *bias, *residual;  ///< Null: nothing to add
  std::int64_t residual_stride;
  float* out;
  std::int64_t out_stride;

  /// Add bias and residual to `count` results from column `begin` of a row that were written.
  void finish(std::int64_t row, std::int64_t begin, std::int64_t count) const {
    float* to = out + row * out_stride + begin;
    if (bias != nullptr) {
#pragma omp simd
      for (std::int64_t o = 0; o < count; ++o) to[o] += bias[begin + o];
    }
    if (residual == nullptr) return;
    const float* past = residual + row * residual_stride + begin;
#pragma omp simd
    for (std::int64_t o = 0; o < count; ++o) to[o] += past[o];
  }
};

/// Rows of a part of a product: so many that all threads have work, a core's cache holds them, and parts are multiples of `rows`.
inline std::int64_t part_rows(std::int64_t all, std::int64_t most, std::int64_t rows) {
  const std::int64_t threads = std::max(1, at::get_num_threads()), most_of_all = threads * std::max(rows, most);
  const std::int64_t rounds = (all + most_of_all - 1) / most_of_all;
  const std::int64_t parts = threads * std::max<std::int64_t>(1, rounds);
  return std::max(rows, ((all + parts - 1) / parts + rows - 1) / rows * rows);
}

}  // namespace dmoerm::nn
