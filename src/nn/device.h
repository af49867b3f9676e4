// The device that a setting asks for.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

namespace dmoerm::nn {

/// Of several GPUs, the one with the number of this process among the ranks of its node.
/// @param wanted  "cpu", "cuda", or "auto": CUDA where this build and machine have it
/// @param setting  names the setting in the message
/// @throws ConfigError if it is another word, or CUDA is asked for and not there
c10::Device pick_device(const std::string& wanted, const std::string& setting);
/// The element type that `compute.dtype` names: float32 or bfloat16.
c10::ScalarType pick_dtype(const std::string& name);
/// Where a GPU sits on its machine's bus, which tells whether two processes use the same one; "" for a CPU.
std::string gpu_address(c10::Device device);

}  // namespace dmoerm::nn
