// Device memory, copies and fills.
#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "support/fake_cuda/state.h"

namespace {

using dmoerm::test::fake_cuda::State;
using dmoerm::test::fake_cuda::state;
using dmoerm::test::fake_cuda::within;

constexpr std::size_t kCard = std::size_t{80} << 30, kPage = 4096;

void note_copy(const void* to, const void* from, std::size_t bytes, bool waits) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const bool to_device = within(s.device, to), from_device = within(s.device, from);
  if (waits) ++s.counts.syncs;
  if (to_device && from_device) {
    ++s.counts.copies;
    return;
  }
  ++(to_device ? s.counts.uploads : s.counts.downloads);
  (to_device ? s.counts.uploaded_bytes : s.counts.downloaded_bytes) += static_cast<std::int64_t>(bytes);
  if (!within(s.pinned, to_device ? from : to)) ++s.counts.pageable;
}

/// Writes zeros; whole pages are given back to the system instead, which reads as zeros and takes no time.
void clear(char* begin, std::size_t bytes) {
  const auto at = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t first = (at + kPage - 1) / kPage * kPage, last = (at + bytes) / kPage * kPage;
  if (first >= last) {
    std::memset(begin, 0, bytes);
    return;
  }
  std::memset(begin, 0, first - at);
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  std::memset(reinterpret_cast<void*>(last), 0, at + bytes - last);
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return cudaErrorMemoryAllocation;
  *pointer = block;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.device[static_cast<char*>(block)] = bytes;
  s.memory += static_cast<std::int64_t>(bytes);
  s.memory_peak = std::max(s.memory_peak, s.memory);
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto found = s.device.find(static_cast<char*>(pointer));
  if (found == s.device.end()) return cudaSuccess;
  munmap(pointer, found->second);
  s.memory -= static_cast<std::int64_t>(found->second);
  s.device.erase(found);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  *pointer = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  const std::lock_guard lock(state().mutex);
  state().pinned[static_cast<char*>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer) {
  const std::lock_guard lock(state().mutex);
  state().pinned.erase(static_cast<char*>(pointer));
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard lock(state().mutex);
  *total = kCard;
  *free = kCard - static_cast<std::size_t>(state().memory);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const std::lock_guard lock(state().mutex);
  std::memset(attributes, 0, sizeof *attributes);
  attributes->type = within(state().device, pointer)   ? cudaMemoryTypeDevice
                     : within(state().pinned, pointer) ? cudaMemoryTypeHost
                                                       : cudaMemoryTypeUnregistered;
  attributes->devicePointer = attributes->type == cudaMemoryTypeDevice ? const_cast<void*>(pointer) : nullptr;
  attributes->hostPointer = const_cast<void*>(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  note_copy(to, from, bytes, true);
  std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  note_copy(to, from, bytes, false);
  std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind, cudaStream_t) {
  note_copy(to, from, width * height, false);
  for (size_t row = 0; row < height; ++row)
    std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* pointer, int value, size_t bytes) {
  {
    const std::lock_guard lock(state().mutex);
    ++state().counts.fills;
  }
  if (value == 0) {
    clear(static_cast<char*>(pointer), bytes);
  } else {
    std::memset(pointer, value, bytes);
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t) { return cudaMemset(pointer, value, bytes); }

}  // extern "C"
