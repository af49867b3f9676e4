#include "comm/tree_sum.h"

#include <algorithm>

namespace dmoerm::comm {

MicroBatchRange micro_batch_range(std::int64_t count, int rank, int size) {
  std::int64_t leaves = size;  // number of leaves of a complete tree, at least one per rank
  while (leaves < count) leaves *= 2;
  const std::int64_t block = leaves / size;
  MicroBatchRange range;
  range.first = std::min(count, rank * block);
  range.last = std::min(count, (rank + 1) * block);
  return range;
}

Bounds chunks_of_blocks(std::size_t count, int size, std::size_t block) {
  const std::size_t blocks = (count + block - 1) / block, ranks = static_cast<std::size_t>(size);
  Bounds bounds;
  for (std::size_t r = 0; r <= ranks; ++r) bounds.push_back(std::min(count, blocks * r / ranks * block));
  return bounds;
}

void add_as_tree(std::span<std::vector<float>> parts) {
  for (std::size_t step = 1; step < parts.size(); step *= 2) {
    for (std::size_t r = 0; r + step < parts.size(); r += 2 * step) {
      for (std::size_t i = 0; i < parts[r].size(); ++i) parts[r][i] += parts[r + step][i];
    }
  }
}

}  // namespace dmoerm::comm
