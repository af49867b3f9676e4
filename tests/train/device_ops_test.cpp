#include "train/device_ops.h"

#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "comm/bfloat16.h"
#include "nn/transfer.h"
#include "support/test_device.h"

namespace dmoerm::train {
namespace {

/// Floats of all sizes, and those at which rounding to bfloat16 goes wrong easily.
std::vector<float> floats() {
  std::vector<float> values = {0.0F,
                               -0.0F,
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::max(),  // rounds to infinity
                               std::numeric_limits<float>::denorm_min(),
                               std::numeric_limits<float>::min()};
  // Around a tie, below an even and below an odd number, in normal and in subnormal floats.
  for (const std::uint32_t high : {0x3f80U, 0x3f81U, 0x0001U, 0x0002U, 0x7f7fU}) {
    for (const std::uint32_t low : {0x7fffU, 0x8000U, 0x8001U}) {
      values.push_back(std::bit_cast<float>(high << 16 | low));
      values.push_back(-values.back());
    }
  }
  Rng rng(5);
  while (values.size() < 10'001) values.push_back(static_cast<float>(rng.normal() * std::pow(10.0, 60 * rng.uniform() - 30)));
  return values;
}

std::vector<std::uint16_t> rounded(const std::vector<float>& values) {
  std::vector<std::uint16_t> halves;
  for (const float v : values) halves.push_back(comm::to_bfloat16(v));
  return halves;
}

/// The numbers on the device that tests compute on.
class OnDevice {
 public:
  OnDevice(const void* numbers, std::size_t count, at::ScalarType dtype)
      : numbers_(at::from_blob(const_cast<void*>(numbers), {static_cast<std::int64_t>(count)}, at::TensorOptions().dtype(dtype))
                     .to(test::test_device(), /*non_blocking=*/false, /*copy=*/true)) {}
  explicit OnDevice(const std::vector<float>& values) : OnDevice(values.data(), values.size(), at::kFloat) {}
  explicit OnDevice(const std::vector<std::uint16_t>& values) : OnDevice(values.data(), values.size(), at::kBFloat16) {}

  template <class T>
  [[nodiscard]] std::span<T> span() const {
    return {static_cast<T*>(numbers_.data_ptr()), static_cast<std::size_t>(numbers_.numel())};
  }
  /// The bits, so that zeros of both signs differ.
  template <class Bits>
  [[nodiscard]] std::vector<Bits> bits() const {
    const at::Tensor host = nn::download(numbers_);
    const auto* const first = static_cast<const Bits*>(host.const_data_ptr());
    return {first, first + host.numel()};
  }

 private:
  at::Tensor numbers_;
};

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float v : values) bits.push_back(std::bit_cast<std::uint32_t>(v));
  return bits;
}

class DeviceOps : public ::testing::Test {
 protected:
  at::Device device_ = test::test_device();
  comm::DeviceOps ops_ = device_ops(device_);
  void* stream_ = ops_.current_stream();
};

TEST_F(DeviceOps, RoundsAsTheHostDoes) {
  const std::vector<float> values = floats();
  const OnDevice from(values), to(std::vector<std::uint16_t>(values.size()));
  ops_.to_bfloat16(from.span<float>(), to.span<std::uint16_t>(), stream_);
  EXPECT_EQ(to.bits<std::uint16_t>(), rounded(values));
}

TEST_F(DeviceOps, NotANumberStaysSo) {
  // Among them the one whose payload rounding would carry into the exponent.
  std::vector<float> values(40, std::numeric_limits<float>::quiet_NaN());
  values[1] = std::bit_cast<float>(0x7fffffffU), values[2] = std::bit_cast<float>(0x7f800001U);
  const OnDevice from(values), half(std::vector<std::uint16_t>(values.size())), back(std::vector<float>(values.size()));
  ops_.to_bfloat16(from.span<float>(), half.span<std::uint16_t>(), stream_);
  ops_.from_bfloat16(half.span<std::uint16_t>(), back.span<float>(), stream_);
  for (const std::uint32_t bits : back.bits<std::uint32_t>()) EXPECT_TRUE(std::isnan(std::bit_cast<float>(bits)));
}

TEST_F(DeviceOps, WidensAsTheHostDoes) {
  const std::vector<std::uint16_t> halves = rounded(floats());
  std::vector<float> expected;
  for (const std::uint16_t half : halves) expected.push_back(comm::from_bfloat16(half));
  const OnDevice from(halves), to(std::vector<float>(halves.size()));
  ops_.from_bfloat16(from.span<std::uint16_t>(), to.span<float>(), stream_);
  EXPECT_EQ(to.bits<std::uint32_t>(), bits_of(expected));
}

TEST_F(DeviceOps, AddsFloatsInPartsOfABuffer) {
  std::vector<float> values(4001), expected;
  Rng rng(6);
  for (float& v : values) v = static_cast<float>(rng.normal() * std::pow(10.0, 6 * rng.uniform() - 3));
  constexpr std::size_t kHalf = 2000;
  for (std::size_t i = 0; i < values.size(); ++i) expected.push_back(values[i] + (i < kHalf ? values[kHalf + 1 + i] : 0));
  const OnDevice buffer(values);
  const std::span<float> all = buffer.span<float>();
  ops_.add(all.first(kHalf), all.last(kHalf), stream_);
  EXPECT_EQ(buffer.bits<std::uint32_t>(), bits_of(expected));
}

}  // namespace
}  // namespace dmoerm::train
