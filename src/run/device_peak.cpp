#include "run/device_peak.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <utility>

#include "nn/device.h"
#include "plan/cpu_rate.h"

namespace dmoerm::run {
namespace {

/// Dense bfloat16 TFLOP/s of GPUs (float16 if they have no bfloat16) from the makers' data sheets. The first entry that a GPU's
/// name contains counts, so longer names stand first.
constexpr std::array<std::pair<std::string_view, double>, 12> kKnown = {{{"B200", 2250},
                                                                         {"H200", 989},
                                                                         {"H100 PCIe", 756},
                                                                         {"H100", 989},
                                                                         {"A100", 312},
                                                                         {"L40S", 362},
                                                                         {"L40", 181},
                                                                         {"L4", 121},
                                                                         {"A10", 125},
                                                                         {"V100", 125},
                                                                         {"RTX 4090", 165},
                                                                         {"RTX 3090", 71}}};

/// What the driver calls the first GPU that this process sees; "" if it does not say. This needs no CUDA header.
std::string driver_name() {
  void* driver = ::dlopen("libcuda.so.1", RTLD_LAZY);
  if (driver == nullptr) return "";
  const auto begin = reinterpret_cast<int (*)(unsigned)>(::dlsym(driver, "cuInit"));
  const auto name_of = reinterpret_cast<int (*)(char*, int, int)>(::dlsym(driver, "cuDeviceGetName"));
  std::array<char, 256> name{};
  if (begin == nullptr || name_of == nullptr || begin(0) != 0 || name_of(name.data(), name.size() - 1, 0) != 0) return "";
  return name.data();
}

/// Peak of the first GPU that this process sees; 0 if it is not in the table.
double gpu_peak() {
  const std::string name = driver_name();
  for (const auto& [part, tflops] : kKnown) {
    if (name.find(part) != std::string::npos) return tflops * 1e12;
  }
  return 0;
}

}  // namespace

double device_peak(const config::ComputeConfig& compute) {
  if (compute.peak_tflops > 0) return compute.peak_tflops * 1e12;
  if (!nn::pick_device(config::word(compute.device), "compute.device").is_cpu()) return gpu_peak();
  if (const auto measured = plan::multiply_adds_here()) return *measured * 1e12 * static_cast<double>(compute.threads);
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

std::string gpu_name() {
  if (nn::gpu_count() == 0) return "";
  const std::string name = driver_name();
  return name.empty() ? "unknown" : name;
}

}  // namespace dmoerm::run
