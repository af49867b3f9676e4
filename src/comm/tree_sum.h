// The order in which gradients are added: one complete binary tree over the numbers of a step's micro batches, whoever computes
// them.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// The micro batches [first, last) of a rank: leaves of a complete binary tree over `count` micro batches, cut into `size` (a
/// power of two) equal subtrees. `contributors` is how many leading ranks get at least one.
struct MicroBatchRange {
  std::int64_t first = 0, last = 0;
  int contributors = 1;
};
MicroBatchRange micro_batch_range(std::int64_t count, int rank, int size);

/// Adds up buffers that arrive in the order of their leaves as a binary tree over the leaves' numbers, holding at most
/// log2(count)
/// + 1 of them.
/// @tparam Add  add(sum, more): adds `more` to `sum` element by element
template <class Buffer, class Add>
class TreeSum {
 public:
  explicit TreeSum(Add add) : add_(std::move(add)) {}

  /// The next leaf.
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

  /// The sum of all leaves; nullopt if there were none. Resets.
  std::optional<Buffer> finish() {
    // Subtrees that lack their right part, from the smallest up: a missing leaf adds nothing.
    std::optional<Buffer> sum;
    while (!pending_.empty()) {
      if (sum) add_(pending_.back().second, *sum);
      sum = std::move(pending_.back().second);
      pending_.pop_back();
    }
    return sum;
  }

  /// Buffers held now.
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
