// The device that a setting asks for.
#pragma once
#include <c10/core/Device.h>

#include <string>

namespace dmoerm::tensor {

/// @param wanted  "cpu", "cuda", or "auto": CUDA where this build and machine have it
/// @param setting  names the setting in the message
/// @throws ConfigError if it is another word, or CUDA is asked for and not there
c10::Device pick_device(const std::string& wanted, const std::string& setting);

}  // namespace dmoerm::tensor
