#include "comm/tree_sum.h"

#include <algorithm>

namespace dmoerm::comm {

MicroBatchRange micro_batch_range(std::int64_t count, int rank, int size) {
  std::int64_t leaves = size;  // a complete tree with at least one leaf a rank
  while (leaves < count) leaves *= 2;
  const std::int64_t block = leaves / size;
  MicroBatchRange range;
  range.first = std::min(count, rank * block);
  range.last = std::min(count, (rank + 1) * block);
  range.contributors = static_cast<int>(std::max<std::int64_t>(1, (count + block - 1) / block));
  return range;
}

}  // namespace dmoerm::comm
