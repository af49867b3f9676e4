// Matrices of weights laid out for products of inference on the CPU. A row of a product has the same bits whatever rows are
// beside it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dmoerm::nn {

/// Weights [outputs, inputs].
class FrozenMatrix {
 public:
  FrozenMatrix() = default;
  FrozenMatrix(const FrozenMatrix&) = delete;
  FrozenMatrix& operator=(const FrozenMatrix&) = delete;
  virtual ~FrozenMatrix() = default;

  /// out = x w' (+ bias) (+ residual).
  /// @param x         [rows, inputs], float32, with adjacent columns
  /// @param bias      [outputs], or undefined
  /// @param residual  [rows, outputs] with adjacent columns, or undefined
  /// @param out       [rows, outputs], float32, with adjacent columns
  virtual void multiply(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& out) const = 0;
  /// x w' (+ bias) (+ residual) as a new tensor.
  [[nodiscard]] at::Tensor product(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual = {}) const;

 protected:
  [[nodiscard]] virtual std::int64_t outputs() const = 0;
};

/// What is added to a product, and where it goes.
struct ProductSink {
  ProductSink(const at::Tensor& bias_O, const at::Tensor& residual_RO, const at::Tensor& out_RO);
  const float *bias, *residual;  ///< Null: nothing to add
  std::int64_t residual_stride;
  float* out;
  std::int64_t out_stride;
  /// Add bias and residual to `count` results from column `begin` of a row that were written.
  void finish(std::int64_t row, std::int64_t begin, std::int64_t count) const;
};

/// Rows of a part of a product: so many that all threads have work, a core's cache holds them, and parts are multiples of `rows`.
std::int64_t part_rows(std::int64_t all, std::int64_t most, std::int64_t rows);

}  // namespace dmoerm::nn
