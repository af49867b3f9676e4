// Which elements dropout drops: a hash of the row's key and the element's place. Each path computes the same.
#pragma once
#include <cstdint>

#include "base/rng.h"

namespace dmoerm::nn {

/// Constants of murmur3's finaliser, with which each element's place is mixed into its row's key.
inline constexpr std::uint32_t kGolden = 0x9e3779b9U, kMix1 = 0x85ebca6bU, kMix2 = 0xc2b2ae35U;

inline std::uint32_t row_key(std::uint64_t key, std::int64_t row) {
  return static_cast<std::uint32_t>(mix64(key + static_cast<std::uint64_t>(row)));
}

/// Hashes below it are dropped.
inline std::uint32_t dropout_threshold(double p) { return static_cast<std::uint32_t>(p * 4294967296.0); }

}  // namespace dmoerm::nn
