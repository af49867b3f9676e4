// In place of nccl_communicator.cpp in builds without NCCL (DMOERM_CUDA).
#include "comm/nccl_communicator.h"

namespace dmoerm::comm {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& /*host*/, int /*device*/) { return nullptr; }

}  // namespace dmoerm::comm
