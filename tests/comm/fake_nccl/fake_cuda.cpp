#include "comm/fake_nccl/fake_cuda.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "comm/ordered_queue.h"

struct CUstream_st {
  dmoerm::comm::OrderedQueue queue;
};
struct CUevent_st {
  std::shared_ptr<std::atomic<bool>> passed =
      std::make_shared<std::atomic<bool>>(true);  ///< Whether the latest record has passed
};

namespace dmoerm::test {
namespace {

constexpr int kDevices = 8;

struct Memory {
  std::mutex mutex;
  std::map<const char*, std::size_t> blocks;
};
Memory& memory() {
  static Memory all;
  return all;
}

/// Pieces of work that were queued in streams and are not done.
std::atomic<int> unfinished = 0;

/// Work in the default stream is done when the call returns.
bool immediate(cudaStream_t stream) { return stream == nullptr || stream == cudaStreamLegacy; }

}  // namespace

void post(cudaStream_t stream, std::function<void()> work) {
  if (immediate(stream)) return work();
  ++unfinished;
  (void)stream->queue.post([work = std::move(work)] {
    work();
    if (--unfinished == 0) unfinished.notify_all();
  });
}

bool on_device(const void* first, std::size_t bytes) {
  const std::scoped_lock lock(memory().mutex);
  const auto* const begin = static_cast<const char*>(first);
  auto after = memory().blocks.upper_bound(begin);
  if (after == memory().blocks.begin()) return false;
  const auto& [start, size] = *--after;
  return begin + bytes <= start + size;
}

}  // namespace dmoerm::test

using dmoerm::test::memory;
using dmoerm::test::post;

extern "C" {

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= dmoerm::test::kDevices) return cudaErrorInvalidDevice;
  *properties = {};
  properties->uuid.bytes[0] = static_cast<char>(device + 1);
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device >= 0 && device < dmoerm::test::kDevices ? cudaSuccess : cudaErrorInvalidDevice;
}
const char* cudaGetErrorString(cudaError_t code) {
  return code == cudaErrorNotReady ? "not ready" : "an error of the fake runtime";
}

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = std::malloc(bytes);
  const std::scoped_lock lock(memory().mutex);
  memory().blocks[static_cast<char*>(*pointer)] = bytes;
  return cudaSuccess;
}
/// Waits for the device, as CUDA's does: what is queued may still use the memory.
cudaError_t cudaFree(void* pointer) {
  for (int left = dmoerm::test::unfinished; left > 0; left = dmoerm::test::unfinished) dmoerm::test::unfinished.wait(left);
  const std::scoped_lock lock(memory().mutex);
  memory().blocks.erase(static_cast<char*>(pointer));
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind /*kind*/) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind /*kind*/, cudaStream_t stream) {
  post(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned /*flags*/) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->passed = std::make_shared<std::atomic<bool>>(false);
  post(stream, [passed = event->passed] {
    *passed = true;
    passed->notify_all();
  });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return *event->passed ? cudaSuccess : cudaErrorNotReady; }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
  post(stream, [passed = event->passed] { passed->wait(false); });
  return cudaSuccess;
}

}  // extern "C"
