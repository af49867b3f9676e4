// AdamW as torch.optim.AdamW computes it, for whatever is trained or fitted.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dmoerm::nn {

/// Elements [begin, end) of a flat buffer.
struct Elements {
  std::int64_t begin = 0, end = 0;
};

/// How the first moment m follows the gradient g. Both are the same mean but for rounding, and results keep their bits only if
/// what is trained stays with its way.
enum class FirstMoment {
  interpolated,  ///< m + (g - m)(1 - beta1), how reward models are trained
  summed,        ///< m beta1 + g (1 - beta1), how routers and aggregators are fitted
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  FirstMoment first_moment = FirstMoment::interpolated;
  bool fused = false;  ///< Whether CPUs take the update of GPUs too, so that it can be compared there
};

/// Moments of some float32 parameters.
class AdamW {
 public:
  /// @param parameters  contiguous; step() takes tensors of the same shapes
  /// @param undecayed   elements of each parameter that have no weight decay, in ascending order; may be empty if all have
  AdamW(const std::vector<at::Tensor>& parameters, const AdamWOptions& options,
        std::vector<std::vector<Elements>> undecayed = {});

  /// One update in place. Moments that are interpolated and parameters change in one pass over the memory.
  /// @param gradients  tensors of the same shapes. They are scaled by `gradient_scale` (from clipping); on a GPU this changes
  ///     them. A parameter whose gradient is undefined stays.
  /// @param step  1 for the first update
  void step(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, double lr, std::int64_t step,
            double gradient_scale);

  std::vector<at::Tensor> first, second;  ///< Moments, which checkpoints hold

 private:
  /// A parameter's elements with one factor that weight decay gives them.
  struct Stretch {
    Elements elements;
    double keep = 1;
  };
  /// What is the same for all parameters of an update.
  struct Update {
    double lr, correction1, correction2, gradient_scale;
  };
  [[nodiscard]] std::vector<Stretch> stretches(std::size_t parameter, std::int64_t size, double lr) const;
  void step_fused(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, const Update& update,
                  std::int64_t step);
  void step_in_one_pass(std::size_t i, const at::Tensor& parameter, const at::Tensor& gradient, const Update& update);
  void step_by_operations(std::size_t i, const at::Tensor& parameter, const at::Tensor& gradient, const Update& update);

  AdamWOptions options_;
  std::vector<std::vector<Elements>> undecayed_;
};

}  // namespace dmoerm::nn
