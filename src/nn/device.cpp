#include "nn/device.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "base/error.h"
#include "base/log.h"

namespace dmoerm::nn {
namespace {

/// Number of this process among those of its node, from the launcher's environment; 0 without a launcher.
int local_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "MPI_LOCALRANKID"}) {
    if (const char* text = std::getenv(name); text != nullptr) return std::atoi(text);
  }
  return 0;
}

constexpr double kMib = 1024.0 * 1024.0;

/// Bytes of a GPU's memory that libtorch holds.
struct Held {
  std::int64_t unused = 0, peak = 0;
};

Held held_by_libtorch(c10::Device device) {
  c10::DeviceAllocator* const allocator = c10::getDeviceAllocator(device.type());
  if (!allocator->initialized()) return {};
  constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const c10::CachingDeviceAllocator::DeviceStats stats = allocator->getDeviceStats(device.index());
  const c10::CachingAllocator::Stat& held = stats.reserved_bytes[kAll];
  return {held.current - stats.allocated_bytes[kAll].current, held.peak};
}

}  // namespace

c10::Device pick_device(const std::string& wanted, const std::string& setting) {
  if (wanted != "cpu" && wanted != "cuda" && wanted != "auto")
    throw ConfigError("unknown-device", fmt::format("{}: expected cpu, cuda or auto, found {}", setting, wanted));
  const bool cuda = wanted != "cpu" && at::globalContext().hasCUDA();
  if (wanted == "cuda" && !cuda)
    throw ConfigError("no-cuda",
                      fmt::format("{}: cuda, but this build of dmoerm or this machine has no CUDA; use auto or cpu", setting));
  if (!cuda) return {c10::kCPU};
  at::globalContext().setAllowBF16ReductionCuBLAS(false);  // keeps partial sums of bfloat16 products in float32
  const int gpus = gpu_count();
  const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(gpus > 0 ? local_rank() % gpus : 0));
  c10::impl::VirtualGuardImpl(c10::kCUDA).setDevice(device);
  return device;
}

int gpu_count() {
  return at::globalContext().hasCUDA() ? static_cast<int>(c10::impl::VirtualGuardImpl(c10::kCUDA).deviceCount()) : 0;
}

bool built_for_cuda() {
  void* library = ::dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library != nullptr) ::dlclose(library);
  return library != nullptr;
}

c10::ScalarType pick_dtype(const std::string& name) {
  if (name == "float32") return c10::kFloat;
  if (name == "bfloat16") return c10::kBFloat16;
  throw ConfigError("dtype-unsupported", fmt::format("dtype {} is not supported (float32, bfloat16)", name));
}

BaseWeights pick_weights(const std::string& name) {
  for (const BaseWeights weights : {BaseWeights::float32, BaseWeights::int8}) {
    if (name == name_of(weights)) return weights;
  }
  throw ConfigError("invalid-value", fmt::format("weights {} are not supported (float32, int8)", name));
}

std::string gpu_address(c10::Device device) {
  if (!device.is_cuda()) return "";
  // Looks the function up in the runtime that libtorch has loaded, because its header needs a CUDA toolkit.
  using Function = int (*)(char*, int, int);
  const auto address_of = reinterpret_cast<Function>(::dlsym(RTLD_DEFAULT, "cudaDeviceGetPCIBusId"));
  char address[64] = "";
  if (address_of == nullptr || address_of(address, sizeof address, device.index()) != 0) return "";
  return address;
}

bool computes_in_bfloat16(c10::Device device) {
  constexpr int kCapabilityMajor = 75;  // cudaDevAttrComputeCapabilityMajor
  constexpr std::size_t kMost = 64;
  static std::array<std::atomic<int>, kMost> known{};  // 0: not asked yet; else the major number + 1
  if (!device.is_cuda()) return false;
  std::atomic<int>& own = known.at(static_cast<std::size_t>(device.index()));
  if (own == 0) {
    int major = 0;
    const auto ask = reinterpret_cast<int (*)(int*, int, int)>(::dlsym(RTLD_DEFAULT, "cudaDeviceGetAttribute"));
    own = 1 + (ask != nullptr && ask(&major, kCapabilityMajor, device.index()) == 0 ? major : 0);
  }
  return own > 8;
}

void warn_if_slow(c10::Device device, c10::ScalarType dtype, const std::string& what) {
  if (device.is_cuda() && dtype == c10::kFloat)
    spdlog::warn(
        "{}: float32 on a GPU does without flash attention and the program's own kernels, and is many times slower; a run with "
        "compute.dtype: bfloat16 is fast, and so is the bundle that it makes",
        what);
}

double free_gpu_memory_mib(c10::Device device) {
  if (!device.is_cuda()) return 0;
  const auto choose = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_DEFAULT, "cudaSetDevice"));
  const auto memory_of = reinterpret_cast<int (*)(std::size_t*, std::size_t*)>(::dlsym(RTLD_DEFAULT, "cudaMemGetInfo"));
  std::size_t free = 0, total = 0;
  if (choose == nullptr || memory_of == nullptr || choose(device.index()) != 0 || memory_of(&free, &total) != 0) return 0;
  return (static_cast<double>(free) + static_cast<double>(held_by_libtorch(device).unused)) / kMib;
}

double peak_gpu_memory_mib(c10::Device device) {
  return device.is_cuda() ? static_cast<double>(held_by_libtorch(device).peak) / kMib : 0;
}

void* current_stream(c10::Device device) {
  if (!device.is_cuda()) return nullptr;
  const c10::impl::VirtualGuardImpl devices(device.type());
  return devices.getStreamNativeHandle(devices.getStream(device));
}

}  // namespace dmoerm::nn
