// The order in which gradients are added: one complete binary tree over the numbers of a step's micro batches. It does not depend
// on which rank computes them.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// The micro batches [first, last) of a rank. The complete binary tree over all micro batches of a step is cut into one subtree
/// per rank, all of the same size.
struct MicroBatchRange {
  std::int64_t first = 0, last = 0;
};
/// The range of a rank. @param count  number of micro batches  @param size  number of ranks, a power of two
MicroBatchRange micro_batch_range(std::int64_t count, int rank, int size);

/// Adds up buffers in a binary tree over their numbers. The buffers are passed in the order of their numbers, and at most
/// log2(count) + 1 of them are held at a time.
/// @tparam Add  function add(sum, more) that adds `more` to `sum` element by element
template <class Buffer, class Add>
class TreeSum {
 public:
  explicit TreeSum(Add add) : add_(std::move(add)) {}

  /// Add the next buffer.
  void add(Buffer leaf) {
    int height = 0;
    while (!pending_.empty() && pending_.back().first == height) {
      add_(pending_.back().second, leaf);  // earlier + later
      leaf = std::move(pending_.back().second);
      pending_.pop_back();
      ++height;
    }
    pending_.emplace_back(height, std::move(leaf));
  }

  /// The sum of all buffers, or nullopt if there were none. The next sum begins empty.
  std::optional<Buffer> finish() {
    // The pending subtrees have no right part, because missing leaves add nothing. They are joined from the smallest up.
    std::optional<Buffer> sum;
    while (!pending_.empty()) {
      if (sum) add_(pending_.back().second, *sum);
      sum = std::move(pending_.back().second);
      pending_.pop_back();
    }
    return sum;
  }

  /// Number of buffers held.
  [[nodiscard]] std::size_t held() const { return pending_.size(); }

 private:
  Add add_;
  std::vector<std::pair<int, Buffer>> pending_;  // (height, sum), heights falling
};

/// Divide `count` elements into `size` chunks of whole blocks, as evenly as possible; the last chunk is empty only if all are.
Bounds chunks_of_blocks(std::size_t count, int size, std::size_t block);

/// Add up the ranks' summands of one chunk in the tree over rank numbers. parts[0] receives the sum.
/// @param parts  one summand per rank, all of one length; overwritten
void add_as_tree(std::span<std::vector<float>> parts);

}  // namespace dmoerm::comm
