#include <algorithm>

#include "comm/communicator.h"

namespace dmoerm::comm {
namespace {

void add_into(std::vector<float>& sum, const std::vector<float>& more) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
}

}  // namespace

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

void TreeSum::add(std::span<const float> values) {
  std::vector<float> sum(values.begin(), values.end());
  int height = 0;
  while (!pending_.empty() && pending_.back().first == height) {
    add_into(pending_.back().second, sum);  // earlier + later
    sum = std::move(pending_.back().second);
    pending_.pop_back();
    ++height;
  }
  pending_.emplace_back(height, std::move(sum));
}

std::vector<float> TreeSum::finish() {
  // Subtrees that lack their right part, from the smallest up: a missing leaf adds nothing.
  std::vector<float> sum;
  while (!pending_.empty()) {
    if (!sum.empty()) add_into(pending_.back().second, sum);
    sum = std::move(pending_.back().second);
    pending_.pop_back();
  }
  if (sum.empty()) sum.assign(width_, 0.0F);
  return sum;
}

}  // namespace dmoerm::comm
