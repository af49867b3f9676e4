// AdamW's update of many parameters in one kernel, for GPUs.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/adamw.h"

namespace dmoerm::nn {

/// Parameters that have the same weight decay, and what belongs to each of them: contiguous, float32, on one device.
struct AdamWLists {
  std::vector<at::Tensor> parameters, gradients, first, second;
};

/// The update of AdamW with FirstMoment::interpolated, rounded in another order. Gradients are scaled in place.
/// @param weight_decay  instead of that of `options`
void fused_adamw(const AdamWLists& lists, const AdamWOptions& options, double weight_decay, double lr, std::int64_t step,
                 double gradient_scale);

}  // namespace dmoerm::nn
