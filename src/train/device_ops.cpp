#include "train/device_ops.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/StreamGuard.h>

#include <type_traits>

#include "nn/device.h"

namespace dmoerm::train {
namespace {

/// Lets the calling thread's work run in a stream (cudaStream_t) that libtorch did not make. On a CPU it does nothing.
class InStream {
 public:
  InStream(c10::Device device, void* stream) {
    // libtorch numbers such a stream by its address. Its own function for that, c10::cuda::getStreamFromExternal(), has a header
    // that wheels for CPUs lack.
    if (device.is_cuda()) guard_.reset_stream(c10::Stream(c10::Stream::UNSAFE, device, reinterpret_cast<c10::StreamId>(stream)));
  }

 private:
  c10::OptionalStreamGuard guard_;
};

/// The numbers as a tensor of the device.
template <class T>
at::Tensor view_of(std::span<T> numbers, at::ScalarType dtype, c10::Device device) {
  auto* const data = const_cast<std::remove_const_t<T>*>(numbers.data());  // tensors know no constant data
  const at::TensorOptions options = at::TensorOptions().dtype(dtype).device(device);
  // The device is named twice: without target_device() CUDA would be asked for it each time.
  return at::for_blob(data, {std::ssize(numbers)}).options(options).target_device(device).make_tensor();
}

}  // namespace

comm::DeviceOps device_ops(c10::Device device) {
  return {[device] { return nn::current_stream(device); },
          [device](std::span<const float> from, std::span<std::uint16_t> to, void* stream) {
            const InStream in(device, stream);
            view_of(to, at::kBFloat16, device).copy_(view_of(from, at::kFloat, device));
          },
          [device](std::span<const std::uint16_t> from, std::span<float> to, void* stream) {
            const InStream in(device, stream);
            view_of(to, at::kFloat, device).copy_(view_of(from, at::kBFloat16, device));
          },
          [device](std::span<float> sum, std::span<const float> more, void* stream) {
            const InStream in(device, stream);
            view_of(sum, at::kFloat, device).add_(view_of(more, at::kFloat, device));
          }};
}

}  // namespace dmoerm::train
