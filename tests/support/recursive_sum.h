// The sum over ranks worked out again, so that a wrong order in the program shows.
#pragma once
#include <bit>
#include <cstddef>
#include <span>
#include <vector>

namespace dmoerm::test {

/// The sum of the complete binary tree over parts[first, first + width), width a power of two. Parts beyond the last add nothing.
inline std::vector<float> recursive_sum(std::span<const std::vector<float>> parts, std::size_t first, std::size_t width) {
  if (width == 1) return parts[first];
  std::vector<float> sum = recursive_sum(parts, first, width / 2);
  if (first + width / 2 >= parts.size()) return sum;
  const std::vector<float> right = recursive_sum(parts, first + width / 2, width / 2);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += right[i];
  return sum;
}

/// ((0+1)+(2+3))+... of all parts, at least one.
inline std::vector<float> recursive_sum(std::span<const std::vector<float>> parts) {
  return recursive_sum(parts, 0, std::bit_ceil(parts.size()));
}

}  // namespace dmoerm::test
