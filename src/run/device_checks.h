// What is refused and warned of, before any work, because of the device that computes.
#pragma once
#include <c10/core/Device.h>

#include "config/run_config.h"

namespace dmoerm::run {

/// @param over_nccl  whether ranks of one task add their gradients on GPUs
/// @throws ConfigError for gradients in bfloat16 there: NCCL would round the sums at every level
void check_gradient_dtype(const config::ClusterConfig& cluster, bool over_nccl);

/// Warn of settings with which a GPU is slow.
void warn_if_slow(const config::ComputeConfig& compute, c10::Device device);

}  // namespace dmoerm::run
