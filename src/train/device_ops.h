// What ranks that add gradients on their GPUs need of libtorch.
#pragma once
#include <c10/core/Device.h>

#include "comm/nccl_communicator.h"

namespace dmoerm::train {

/// The passes over a GPU's memory that sums over ranks consist of. Each is one kernel and allocates nothing. On a CPU, where the
/// stream has no meaning, they are done when they return; their bits are those of comm/bfloat16.h, except for the payload of NaN.
comm::DeviceOps device_ops(c10::Device device);

}  // namespace dmoerm::train
