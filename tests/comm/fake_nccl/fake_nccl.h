// How a test makes functions of the fake NCCL fail, and learns whether it was used as NCCL forbids.
#pragma once
#include <string>

namespace dmoerm::test {

/// Let the next call of an NCCL function fail: ncclGetUniqueId, ncclReduce or ncclSend.
void fail_next(const std::string& function);
/// How often a communicator was aborted inside an open group of calls.
int aborts_in_groups();

}  // namespace dmoerm::test
