// What is warned of, before any work, because of the device that computes.
#pragma once
#include <c10/core/Device.h>

#include "config/run_config.h"

namespace dmoerm::run {

/// Warn of settings with which a GPU is slow.
void warn_if_slow(const config::ComputeConfig& compute, c10::Device device);

}  // namespace dmoerm::run
