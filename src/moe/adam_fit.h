// Fits small models on cached features: AdamW over autograd parameters, keeping those with the best validation figure.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace dmoerm::moe {

struct FitOptions {
  double lr = 1e-3, weight_decay = 0, clip_norm = 0;
  std::int64_t steps_max = 1000, eval_every_steps = 10, patience = 20;
  bool keep_last = false;  ///< Whether the parameters of the last step are kept; figure() is not called then
};

struct FitResult {
  double best = 0;  ///< Figure at the step that is kept
  std::int64_t best_step = 0;
};

/// Minimise loss(step), a function of the step and the parameters, in `parameters`. Before the first step and every
/// eval_every_steps it calls figure(), of which larger is better (pairs compare in order, so the second breaks ties), and at the
/// end it restores the parameters of the best figure. Inside a KeptFits it goes on where an earlier call was broken off, with the
/// same bits.
/// @throws Stopped if its keeper wants to stop
FitResult fit_adamw(std::vector<at::Tensor>& parameters, const FitOptions& options,
                    const std::function<at::Tensor(std::int64_t step)>& loss,
                    const std::function<std::pair<double, double>()>& figure);

}  // namespace dmoerm::moe
