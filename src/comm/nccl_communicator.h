// The collectives of a group over NCCL, on data in the memory of GPUs.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// What the library that computes on the GPU does for the communicator, which has no kernels of its own. The last three put one
/// pass over memory of the GPU into a stream (cudaStream_t) and need not wait for it. Their spans are not empty, are of one
/// length and do not overlap.
struct DeviceOps {
  /// Gives the stream (cudaStream_t) in which the caller works now; empty or null: the legacy default stream.
  std::function<void*()> current_stream;
  /// Rounds float32 to the nearest bfloat16, ties to even; NaN stays NaN.
  std::function<void(std::span<const float> from, std::span<std::uint16_t> to, void* stream)> to_bfloat16;
  /// Converts bfloat16 to float32.
  std::function<void(std::span<const std::uint16_t> from, std::span<float> to, void* stream)> from_bfloat16;
  /// Adds `more` to `sum`, in float32.
  std::function<void(std::span<float> sum, std::span<const float> more, void* stream)> add;
};

/// A group of the ranks of `host` whose sums and chunks lie on the rank's GPU and travel over NCCL. They have the bits that
/// `host` gives for the same floats and Wire. Bytes and barriers use `host`. A collective waits for the work that is in the
/// caller's stream when it is started. Collective over `host`.
/// @param host    communicator that outlives the result; its time limit and break_when() apply here too
/// @param device  number of this rank's GPU, or negative if it has none
/// @param ops     for that GPU; without conversions and sums, use_wire() accepts float32 only
/// @return nullptr on all ranks if NCCL cannot be used: it is not built in, a rank has no GPU, or two ranks share one
/// @throws CommError naming call, rank and place, and after ncclCommAbort if a collective takes too long
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device, const DeviceOps& ops = {});

}  // namespace dmoerm::comm
