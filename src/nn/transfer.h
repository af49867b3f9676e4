// Small copies between the host and a GPU that hold the host up as little as they can: from pinned memory a copy to the GPU runs
// beside it, and into pinned memory a copy back waits for the GPU but needs no second buffer. On the CPU nothing is copied twice.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace dmoerm::nn {

/// The values on the device, [values], float32.
at::Tensor upload(std::span<const float> values, at::Device device);
/// The values on the host, contiguous; the tensor itself if it is there already.
at::Tensor download(const at::Tensor& values);

/// Begins to copy values to the host. On the CPU this is download(); from a GPU they are there after finish_downloads(), or after
/// a later download() in the same stream, and the host may go on giving the GPU work until then.
at::Tensor begin_download(const at::Tensor& values);
/// Waits for what begin_download() has begun on this device in the calling thread's stream.
void finish_downloads(at::Device device);

/// The values in memory of the host that is not pinned, a copy of their own. From a GPU they come through one pinned block:
/// pinned memory stays taken for the rest of the process, too much to hold a whole model.
at::Tensor download_large(const at::Tensor& values);
/// What `bytes` of pinned memory take: libtorch rounds them up to a power of two.
std::size_t pinned_bytes(std::size_t bytes);

/// Lists of integers that go to a device in one copy.
class IntegerUpload {
 public:
  /// @return the list's number
  std::size_t add(std::span<const std::int32_t> values);
  void send(at::Device device);
  /// A list on the device, int32, after send().
  [[nodiscard]] at::Tensor list(std::size_t number) const;

 private:
  std::vector<std::int32_t> values_;
  std::vector<std::size_t> begins_ = {0};
  at::Tensor sent_;
};

}  // namespace dmoerm::nn
