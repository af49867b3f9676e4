// How fast a device computes, to show its utilisation, and which GPU it is.
#pragma once
#include <string>

#include "config/run_config.h"

namespace dmoerm::run {

/// Peak FLOP/s of one rank's device: compute.peak_tflops if it is set; else the data sheet's value of a known GPU, or on a CPU
/// that of multiply-adds in registers (plan::multiply_adds_here()) on the configured threads, where that cannot be measured the
/// best rate of some large float32 matrix products (a fraction of a second); else 0 = unknown.
double device_peak(const config::ComputeConfig& compute);

/// What the driver calls the first GPU of this process ("NVIDIA H100 80GB HBM3"); "unknown" if it does not say, "" if there is no
/// GPU or this build cannot use it.
std::string gpu_name();

}  // namespace dmoerm::run
