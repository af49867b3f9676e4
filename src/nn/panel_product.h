// Products of float32 rows with frozen weights for processors whose widest registers a library leaves alone.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dmoerm::nn {

/// w' in panels [panels, inputs, kPanel], with zeros beyond the outputs. @param w  [outputs, inputs], float32, on the CPU
at::Tensor panels_of(const at::Tensor& w);

/// Weights laid out in panels for products. Each number is summed over the inputs in their order, so that a row of a product has
/// the same bits whatever rows are beside it.
class PanelMatrix {
 public:
  /// @param w  [outputs, inputs], float32, on the CPU
  explicit PanelMatrix(const at::Tensor& w) : outputs_(w.size(0)), inputs_(w.size(1)), panels_(panels_of(w)) {}

  /// out = x w' (+ bias) (+ residual).
  /// @param x         [rows, inputs], float32, with adjacent columns
  /// @param bias      [outputs], or undefined
  /// @param residual  [rows, outputs] with adjacent columns, or undefined
  /// @param out       [rows, outputs], float32, with adjacent columns
  void multiply(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& out) const;
  /// x w' (+ bias) (+ residual) as a new tensor.
  [[nodiscard]] at::Tensor product(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual = {}) const;

 private:
  std::int64_t outputs_, inputs_;
  at::Tensor panels_;
};

/// PanelMatrix(w).multiply() with the same bits. Of few rows the rows are laid out in panels, not the weights.
void multiply_by_panels(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias, const at::Tensor& residual,
                        const at::Tensor& out);

}  // namespace dmoerm::nn
