// AdamW on flat float32 buffers, as torch.optim.AdamW computes it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::train {

/// Elements [begin, end) of a flat buffer.
struct Elements {
  std::int64_t begin = 0, end = 0;
};

/// Moments of some flat parameter buffers.
class AdamW {
 public:
  /// @param undecayed  elements of each buffer that have no weight decay, in ascending order; may be empty if all have
  AdamW(const std::vector<at::Tensor>& parameters, const config::TrainConfig& config,
        std::vector<std::vector<Elements>> undecayed = {});

  /// One update. `gradients` have the parameters' shapes and are scaled by `gradient_scale` (from clipping).
  /// @param step  1 for the first update
  void step(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, double lr, std::int64_t step,
            double gradient_scale);

  std::vector<at::Tensor> first, second;  ///< Moments, which checkpoints hold

 private:
  /// A buffer's elements with one factor that weight decay gives them.
  struct Stretch {
    Elements elements;
    double keep = 1;
  };
  [[nodiscard]] std::vector<Stretch> stretches(std::size_t buffer, std::int64_t size, double lr) const;

  double beta1_, beta2_, eps_, weight_decay_;
  std::vector<std::vector<Elements>> undecayed_;
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
