#include "plan/device_choice.h"

#include <fmt/format.h>

namespace dmoerm::plan {
namespace {

/// The GPU of this machine, and what is said of it.
DeviceChoice gpu_here(const std::string& name) {
  const std::string known = gpu_kind(name);
  if (!known.empty()) return {known, fmt::format("this machine's GPU ({})", name)};
  return {kAssumedGpu, fmt::format("this machine's GPU ({}, not a known one: an H100 is assumed, --device names another)", name)};
}

/// The device without --device.
DeviceChoice configured_device(const config::RunConfig& config, const DeviceHints& hints) {
  using config::Device;
  const Device wanted = config.compute.device;
  if (hints.gpus_per_node) {
    return {kAssumedGpu, fmt::format("--gpus-per-node asks for GPUs, of the type that --device names{}",
                                     wanted == Device::cpu ? "; but with compute.device: cpu a run computes on the CPU" : "")};
  }
  if (wanted == Device::cpu) return {"cpu", "compute.device: cpu"};
  const std::string setting = wanted == Device::cuda ? "compute.device: cuda" : "compute.device: auto";
  if (config.slurm.gpus_per_node > 0)
    return {kAssumedGpu, fmt::format("{}, and slurm.gpus_per_node: {} asks for GPUs, of the type that --device names", setting,
                                     config.slurm.gpus_per_node)};
  if (!hints.gpu_here.empty()) {
    const DeviceChoice here = gpu_here(hints.gpu_here);
    return {here.name, fmt::format("{} takes {}", setting, here.reason)};
  }
  if (wanted == Device::cuda) return {kAssumedGpu, setting + " takes a GPU, of the type that --device names"};
  return {"cpu", setting +
                     " finds no GPU here, and slurm.gpus_per_node is 0; to plan a run on GPUs, set compute.device: cuda, or name "
                     "one with --device"};
}

}  // namespace

DeviceChoice choose_device(const config::RunConfig& config, const DeviceHints& hints) {
  const DeviceChoice own = configured_device(config, hints);
  if (hints.option.empty()) return own;
  if (hints.option == own.name) return {own.name, "--device"};
  return {hints.option, fmt::format("--device; without it {}: {}", own.name, own.reason)};
}

std::string rate_text(const DeviceModel& device, CpuKind cpu, PeakSource source, bool share_is_set) {
  const bool gpu = device.multiprocessors > 0;
  const char* peak =
      "assumed to be that of a processor with AVX2 and FMA, which this one lacks: it may be several times slower "
      "(compute.peak_tflops)";
  if (source == PeakSource::setting)
    peak = "that of compute.peak_tflops";
  else if (source == PeakSource::measured)
    peak = "what multiply-adds reach in the registers of one thread here, measured just now, for all compute.threads";
  else if (gpu)
    peak = "the maker's figure";
  const char* const share = share_is_set                    ? "that of --reached"
                            : !gpu && cpu != CpuKind::other ? "as measured on another processor of this kind"
                                                            : "assumed";
  return fmt::format("the peak is {}; what long passes reach of it is {}", peak, share);
}

}  // namespace dmoerm::plan
