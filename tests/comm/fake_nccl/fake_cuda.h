// A CUDA runtime without a GPU, as far as NcclCommunicator and its test use it: memory is the host's, and each stream is a thread
// that works through what is queued in it, so that the caller meets events that are not ready yet.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>

namespace dmoerm::test {

/// Queue work in a stream.
void post(cudaStream_t stream, std::function<void()> work);
/// Whether cudaMalloc gave these bytes.
bool on_device(const void* first, std::size_t bytes);

}  // namespace dmoerm::test
