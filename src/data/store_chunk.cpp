#include "data/store_chunk.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>

namespace dmoerm::data {
namespace {

constexpr std::size_t kSumBytes = 4;

/// Fletcher's checksum as HDF5 computes it: over numbers of 16 bits, the first byte high, and a last byte alone as such a number.
std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  constexpr std::size_t kStretch = 360;  // numbers that can be added before the sums must be folded
  const auto fold = [](std::uint32_t sum) { return (sum & 0xFFFF) + (sum >> 16); };
  const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<std::uint32_t>(bytes[i]) : 0; };
  std::uint32_t first = 0, second = 0;
  for (std::size_t i = 0; i < bytes.size();) {
    for (const std::size_t end = std::min(bytes.size(), i + 2 * kStretch); i < end; i += 2) {
      first += at(i) << 8 | at(i + 1);
      second += first;
    }
    first = fold(first), second = fold(second);
  }
  return fold(second) << 16 | fold(first);
}

/// The number that a chunk ends with, the lowest byte first.
std::uint32_t stated_sum(std::span<const std::byte, kSumBytes> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < kSumBytes; ++i) sum |= static_cast<std::uint32_t>(bytes[i]) << 8 * i;
  return sum;
}

/// Put the bytes of each value together: the first bytes of all values come first, then the second ones.
template <std::size_t Width>
void unshuffle(const std::vector<std::byte>& from, std::vector<std::byte>& to) {
  const std::size_t values = from.size() / Width;
  for (std::size_t v = 0; v < values; ++v) {
    for (std::size_t b = 0; b < Width; ++b) to[v * Width + b] = from[b * values + v];
  }
}

}  // namespace

std::vector<std::byte> unpack_chunk(std::span<const std::byte> packed, std::size_t bytes, std::size_t width) {
  if (packed.size() <= kSumBytes) return {};
  const auto deflated = packed.first(packed.size() - kSumBytes);
  if (fletcher32(deflated) != stated_sum(packed.last<kSumBytes>())) return {};
  std::vector<std::byte> shuffled(bytes);
  uLongf size = bytes;
  const int code = uncompress(reinterpret_cast<Bytef*>(shuffled.data()), &size, reinterpret_cast<const Bytef*>(deflated.data()),
                              deflated.size());
  if (code != Z_OK || size != bytes) return {};
  if (width == 1) return shuffled;
  std::vector<std::byte> values(bytes);
  if (width == 4) {
    unshuffle<4>(shuffled, values);
  } else if (width == 8) {
    unshuffle<8>(shuffled, values);
  } else {
    return {};
  }
  return values;
}

}  // namespace dmoerm::data
