#include "run/device_checks.h"

#include "base/log.h"

namespace dmoerm::run {

void warn_if_slow(const config::ComputeConfig& compute, c10::Device device) {
  if (device.is_cuda() && compute.dtype == config::Dtype::float32)
    spdlog::warn(
        "[run] compute.dtype: float32 on a GPU does without flash attention and the program's own kernels, and is many times "
        "slower; set it to bfloat16");
}

}  // namespace dmoerm::run
