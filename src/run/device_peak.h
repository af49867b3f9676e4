// How fast a device computes, to show its utilisation.
#pragma once
#include "config/run_config.h"

namespace dmoerm::run {

/// Peak FLOP/s of one rank's device: compute.peak_tflops if it is set; else the data sheet's value of a known GPU, or on a CPU
/// the best rate of some large float32 matrix products on the configured threads (a fraction of a second); else 0 = unknown.
double device_peak(const config::ComputeConfig& compute);

}  // namespace dmoerm::run
