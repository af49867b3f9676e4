#include "cli/device_peak.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <chrono>

#include "tensor/device.h"

namespace dmoerm::cli {

double device_peak(const config::ComputeConfig& compute) {
  if (compute.peak_tflops > 0) return compute.peak_tflops * 1e12;
  if (!tensor::pick_device(compute.device, "compute.device").is_cpu()) return 0;
  constexpr std::int64_t kSide = 768;
  constexpr int kTries = 5;
  const at::Tensor a = at::ones({kSide, kSide}), b = at::ones({kSide, kSide});
  double best_s = 1e9;
  for (int i = 0; i < kTries; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    at::mm(a, b);
    best_s = std::min(best_s, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return 2.0 * kSide * kSide * kSide / best_s;
}

}  // namespace dmoerm::cli
