// Which device a plan prices and why, in words for its reader.
#pragma once
#include <string>

#include "config/run_config.h"
#include "plan/cost_model.h"

namespace dmoerm::plan {

/// What a plan knows beside the configuration.
struct DeviceHints {
  std::string option = "";     ///< --device; "" = not given
  bool gpus_per_node = false;  ///< Whether the command line says how many GPUs a node has
  std::string gpu_here = "";   ///< First GPU of this machine, as its driver calls it; "" if a run here would find none
};
struct DeviceChoice {
  std::string name;    ///< Name of a device, see find_device(); one that is not known only if `option` names it
  std::string reason;  ///< The settings that say so
};
/// The device that a run of this configuration would use, unless the command line names another: a GPU is taken for an H100
/// where nothing says its type.
DeviceChoice choose_device(const config::RunConfig& config, const DeviceHints& hints);

/// Where the peak of a device comes from: a table, compute.peak_tflops, or multiply_adds_here().
enum class PeakSource { table, setting, measured };
/// Where the peak of a device and the share of it that is reached come from, in words.
/// @param share_is_set  whether --reached is its share
std::string rate_text(const DeviceModel& device, CpuKind cpu, PeakSource source, bool share_is_set);

}  // namespace dmoerm::plan
