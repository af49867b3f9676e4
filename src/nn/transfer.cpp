#include "nn/transfer.h"

#include <ATen/ops/empty.h>

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
  if (values.is_cpu()) return values.contiguous();
  return at::empty(values.sizes(), values.options().device(at::kCPU).pinned_memory(true)).copy_(values);
}

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
