#include "nn/transfer.h"

#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace dmoerm::nn {
namespace {

template <class T>
at::Tensor send(std::span<const T> values, at::ScalarType dtype, at::Device device) {
  const at::Tensor host = at::empty({std::ssize(values)}, at::TensorOptions().dtype(dtype).pinned_memory(device.is_cuda()));
  if (!values.empty()) std::memcpy(host.data_ptr(), values.data(), values.size_bytes());
  return host.to(device, /*non_blocking=*/true);
}

}  // namespace

at::Tensor upload(std::span<const float> values, at::Device device) { return send(values, at::kFloat, device); }

at::Tensor download(const at::Tensor& values) {
  const at::Tensor on_host = begin_download(values);
  finish_downloads(values.device());
  return on_host;
}

at::Tensor begin_download(const at::Tensor& values) {
  if (values.is_cpu()) return values.contiguous();
  const at::Tensor on_host = at::empty(values.sizes(), values.options().device(at::kCPU).pinned_memory(true));
  return on_host.copy_(values, /*non_blocking=*/true);
}

void finish_downloads(at::Device device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl devices(device.type());
  devices.synchronizeStream(devices.getStream(device));
}

at::Tensor download_large(const at::Tensor& values) {
  if (values.is_cpu()) return values.detach().clone();
  constexpr std::int64_t kBlockBytes = std::int64_t{64} << 20;
  const at::Tensor from = values.detach().contiguous().view({-1});
  const at::TensorOptions on_host = from.options().device(at::kCPU);
  const std::int64_t size = from.numel(), most = std::min(size, kBlockBytes / from.element_size());
  const at::Tensor block = at::empty({most}, on_host.pinned_memory(true)), to = at::empty({size}, on_host);
  for (std::int64_t begin = 0; begin < size; begin += most) {
    const std::int64_t count = std::min(most, size - begin);
    const at::Tensor part = block.narrow(0, 0, count);
    part.copy_(from.narrow(0, begin, count));
    to.narrow(0, begin, count).copy_(part);
  }
  return to.view(values.sizes());
}

std::size_t pinned_bytes(std::size_t bytes) { return bytes == 0 ? 0 : std::bit_ceil(bytes); }

std::size_t IntegerUpload::add(std::span<const std::int32_t> values) {
  values_.insert(values_.end(), values.begin(), values.end());
  begins_.push_back(values_.size());
  return begins_.size() - 2;
}

void IntegerUpload::send(at::Device device) { sent_ = nn::send(std::span<const std::int32_t>(values_), at::kInt, device); }

at::Tensor IntegerUpload::list(std::size_t number) const {
  const auto begin = static_cast<std::int64_t>(begins_[number]), end = static_cast<std::int64_t>(begins_[number + 1]);
  return sent_.narrow(0, begin, end - begin);
}

}  // namespace dmoerm::nn
