#include "data/store_chunk.h"

#include <libdeflate.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include "base/error.h"

namespace dmoerm::data {
namespace {

constexpr std::size_t kSumBytes = 4;
constexpr int kDeflate = 1;  // level, of 12: the fastest

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

/// Put the first bytes of all values first, then the second ones, and so on.
template <std::size_t Width>
void shuffle(std::span<const std::byte> values, std::byte* to) {
  const std::size_t count = values.size() / Width;
  for (std::size_t v = 0; v < count; ++v) {
    for (std::size_t b = 0; b < Width; ++b) to[b * count + v] = values[v * Width + b];
  }
}

/// Undo shuffle().
template <std::size_t Width>
void unshuffle(std::span<const std::byte> shuffled, std::byte* to) {
  const std::size_t count = shuffled.size() / Width;
  for (std::size_t v = 0; v < count; ++v) {
    for (std::size_t b = 0; b < Width; ++b) to[v * Width + b] = shuffled[b * count + v];
  }
}

/// One of libdeflate's objects. @param free  frees it
template <class T>
std::unique_ptr<T, void (*)(T*)> owned(T* made, void (*free)(T*)) {
  if (made == nullptr) throw std::bad_alloc();
  return {made, free};
}

/// The bytes in the form that a zlib stream has.
std::vector<std::byte> deflated(std::span<const std::byte> bytes, std::size_t room_behind) {
  const auto compressor = owned(libdeflate_alloc_compressor(kDeflate), libdeflate_free_compressor);
  const std::size_t bound = libdeflate_zlib_compress_bound(compressor.get(), bytes.size());
  std::vector<std::byte> packed(bound + room_behind);
  packed.resize(libdeflate_zlib_compress(compressor.get(), bytes.data(), bytes.size(), packed.data(), bound));
  return packed;
}

}  // namespace

std::vector<std::byte> pack_chunk(std::span<const std::byte> values, std::size_t width) {
  DMOERM_CHECK(width == 1 || width == 4 || width == 8, "columns have values of 1, 4 or 8 bytes");
  std::vector<std::byte> shuffled(width == 1 ? 0 : values.size());
  if (width == 4) shuffle<4>(values, shuffled.data());
  if (width == 8) shuffle<8>(values, shuffled.data());
  std::vector<std::byte> packed = deflated(width == 1 ? values : shuffled, kSumBytes);
  const std::uint32_t sum = fletcher32(packed);
  for (std::size_t i = 0; i < kSumBytes; ++i) packed.push_back(static_cast<std::byte>(sum >> 8 * i));
  return packed;
}

std::vector<std::byte> unpack_chunk(std::span<const std::byte> packed, std::size_t bytes, std::size_t width) {
  if (packed.size() <= kSumBytes || (width != 1 && width != 4 && width != 8)) return {};
  const auto content = packed.first(packed.size() - kSumBytes);
  if (fletcher32(content) != stated_sum(packed.last<kSumBytes>())) return {};
  std::vector<std::byte> shuffled(bytes);
  const auto decompressor = owned(libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  if (libdeflate_zlib_decompress(decompressor.get(), content.data(), content.size(), shuffled.data(), bytes, nullptr) !=
      LIBDEFLATE_SUCCESS)
    return {};
  if (width == 1) return shuffled;
  std::vector<std::byte> values(bytes);
  if (width == 4) unshuffle<4>(shuffled, values.data());
  if (width == 8) unshuffle<8>(shuffled, values.data());
  return values;
}

}  // namespace dmoerm::data
