// How much a device can compute, for the utilisation that is shown.
#pragma once
#include "config/run_config.h"

namespace dmoerm::run {

/// Peak FLOP/s of one rank's device: compute.peak_tflops, else on a CPU the best rate of some large float32 matrix products on
/// the configured threads (a fraction of a second), else 0 = not known.
double device_peak(const config::ComputeConfig& compute);

}  // namespace dmoerm::run
