// AdamW on flat float32 buffers, as torch.optim.AdamW computes it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::train {

/// Moments of some flat parameter buffers.
class AdamW {
 public:
  AdamW(const std::vector<at::Tensor>& parameters, const config::TrainConfig& config);

  /// One update. `gradients` have the parameters' shapes and are scaled by `gradient_scale` (from clipping).
  /// @param step  1 for the first update
  void step(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, double lr, std::int64_t step,
            double gradient_scale);

  std::vector<at::Tensor> first, second;  ///< Moments, which checkpoints hold

 private:
  double beta1_, beta2_, eps_, weight_decay_;
};

/// Elements per block of a norm's sum. Squares are summed over each block and then over the blocks in order, so that buffers that
/// are cut at blocks give the same sum.
constexpr std::int64_t kNormBlock = 1 << 12;
/// The sum of squares of each block of a flat buffer, in float64.
std::vector<double> block_squares(const at::Tensor& gradient);
/// Euclidean norm over all buffers, summed in float64 in a fixed order.
double gradient_norm(const std::vector<at::Tensor>& gradients);

/// Learning rate of an update: a linear warm-up, then constant, or falling linearly or as a cosine to zero at `steps_total`.
/// @param step  0 for the first update
double learning_rate(const config::TrainConfig& config, std::int64_t step, std::int64_t steps_total);

}  // namespace dmoerm::train
