// Products of float32 rows with frozen weights for processors whose widest registers a library leaves alone.
#pragma once
#include "nn/frozen_matrix.h"

namespace dmoerm::nn {

/// w' in panels [panels, inputs, kPanel], with zeros beyond the outputs. @param w  [outputs, inputs], float32, on the CPU
at::Tensor panels_of(const at::Tensor& w);

/// Each number is summed over the inputs in their order.
class PanelMatrix : public FrozenMatrix {
 public:
  /// @param w  [outputs, inputs], float32, on the CPU
  explicit PanelMatrix(const at::Tensor& w) : outputs_(w.size(0)), inputs_(w.size(1)), panels_(panels_of(w)) {}
  void multiply(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& out) const override;

 protected:
  [[nodiscard]] std::int64_t outputs() const override { return outputs_; }

 private:
  std::int64_t outputs_, inputs_;
  at::Tensor panels_;
};

/// PanelMatrix(w).multiply() with the same bits. Of few rows the rows are laid out in panels, not the weights.
void multiply_by_panels(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias, const at::Tensor& residual,
                        const at::Tensor& out);

}  // namespace dmoerm::nn
