#include "tensor/device.h"

#include <ATen/Context.h>
#include <fmt/format.h>

#include "base/error.h"

namespace dmoerm::tensor {

c10::Device pick_device(const std::string& wanted, const std::string& setting) {
  if (wanted != "cpu" && wanted != "cuda" && wanted != "auto")
    throw ConfigError(fmt::format("{}: expected cpu, cuda or auto, found {}", setting, wanted));
  const bool cuda = wanted != "cpu" && at::globalContext().hasCUDA();
  if (wanted == "cuda" && !cuda)
    throw ConfigError(
        fmt::format("{}: cuda asked for, but this build of dmoerm or this machine has none; use auto or cpu", setting));
  return {cuda ? c10::kCUDA : c10::kCPU};
}

}  // namespace dmoerm::tensor
