// AdamW's update of many parameters in one kernel, for GPUs.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dmoerm::nn {

/// Parameters that have the same weight decay, and what belongs to each of them: contiguous, float32, on one device.
struct AdamWLists {
  std::vector<at::Tensor> parameters, gradients, first, second;
};

struct AdamWUpdate {
  double lr, beta1, beta2, eps, weight_decay;
  std::int64_t step;      ///< 1 for the first update
  double gradient_scale;  ///< Factor by which clipping shrinks the gradients
};

/// The update of AdamW with FirstMoment::interpolated, rounded in another order. Gradients are scaled in place.
void fused_adamw(const AdamWLists& lists, const AdamWUpdate& update);

}  // namespace dmoerm::nn
