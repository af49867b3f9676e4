// The collectives of a group over NCCL, on data in the memory of GPUs.
#pragma once
#include <functional>
#include <memory>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// A group of the ranks of `host` whose sums and chunks lie on the rank's GPU and travel over NCCL in the same fixed tree, always
/// as float32. Bytes and barriers use `host`. A collective waits for the work that is in the caller's stream when it is started.
/// Collective over `host`.
/// @param host    communicator that outlives the result; its time limit and break_when() apply here too
/// @param device  number of this rank's GPU, or negative if it has none
/// @param stream  gives the stream (cudaStream_t) in which the caller works now; empty or null: the legacy default stream
/// @return nullptr on all ranks if NCCL cannot be used: it is not built in, a rank has no GPU, or two ranks share one
/// @throws CommError naming call, rank and place, and after ncclCommAbort if a collective takes too long
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device, const std::function<void*()>& stream = {});

/// Whether this build can use NCCL at all.
bool nccl_built_in();

}  // namespace dmoerm::comm
