// Small models fitted on cached features: AdamW over autograd parameters, kept where a validation figure is best.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace dmoerm::moe {

struct FitOptions {
  double lr = 1e-3, weight_decay = 0, clip_norm = 0;
  std::int64_t steps_max = 1000, eval_every_steps = 10, patience = 20;
};

struct FitResult {
  double best = 0;  ///< the figure at the step kept
  std::int64_t best_step = 0;
};

/// Minimise loss(step) in `parameters`; every eval_every_steps (and before the first step) figure() is taken, larger is better,
/// and the parameters of the best figure (a pair: compared in order, so the second breaks ties) are put back at the end.
FitResult fit_adamw(std::vector<at::Tensor>& parameters, const FitOptions& options,
                    const std::function<at::Tensor(std::int64_t step)>& loss,
                    const std::function<std::pair<double, double>()>& figure);

}  // namespace dmoerm::moe
