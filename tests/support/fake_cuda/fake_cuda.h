// A CUDA runtime without a GPU. libtorch_cuda runs its host code on it as on a card; kernels and matrix products are counted and
// not executed, device memory is the host's memory, zero at first, and copies are real. A program that links the library
// fake_cuda before libtorch gets this runtime instead of the toolkit's, and its driver. It shows that the host's side of a path
// works and how much it asks of a card; results and times it cannot show.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace dmoerm::test {

/// What was asked of the card.
struct GpuCounts {
  std::int64_t kernels = 0;                 ///< kernels, those of matrix products left out
  std::int64_t products = 0;                ///< calls of cuBLAS
  std::int64_t copies = 0;                  ///< copies from device memory to device memory
  std::int64_t fills = 0;                   ///< cudaMemset
  std::int64_t uploads = 0, downloads = 0;  ///< copies from and to the host's memory
  std::int64_t pageable = 0;                ///< uploads and downloads whose memory on the host is not pinned: they block
  std::int64_t syncs = 0;                   ///< waits of the host for a stream, an event or the device
  std::int64_t downloaded_bytes = 0, uploaded_bytes = 0;
  double product_flops = 0;

  /// Operations on the card's stream.
  [[nodiscard]] std::int64_t launches() const { return kernels + products + copies + fills; }
  GpuCounts operator-(const GpuCounts& other) const;
};

/// What was asked so far.
GpuCounts gpu_counts();
/// Numbers of the kernels by demangled name and of the products by shape, so far.
std::map<std::string, std::int64_t> gpu_calls();
/// The stream (cudaStream_t) of the latest kernel.
void* gpu_last_stream();
/// Most bytes of device memory that were taken at one time so far.
std::int64_t gpu_memory_peak();
/// Bytes of pinned memory that are taken now.
std::int64_t gpu_pinned_memory();

}  // namespace dmoerm::test
