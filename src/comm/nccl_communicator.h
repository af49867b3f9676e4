// Groups whose sums and chunks lie in the memory of GPUs.
#pragma once
#include <memory>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// A group of the same ranks whose sums and chunks lie on this rank's GPU and travel over NCCL, in the same fixed tree; bytes and
/// barriers go over `host`. What is started waits for the work that the caller's legacy default stream holds by then. Always
/// float32 on the wire. Collective over `host`.
/// @param host  outlives the result; its limit and break_when() count here too
/// @param device  number of this rank's GPU; negative: none
/// @return nullptr on all ranks where that is not possible: the program was built without NCCL, a rank has no GPU,
/// or two ranks share one, which NCCL refuses
/// @throws CommError naming call, rank and place; when a collective takes too long, after ncclCommAbort
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device);

}  // namespace dmoerm::comm
