// The order in which gradients are added: one complete binary tree over the numbers of a step's micro batches, whoever computes
// them.
#pragma once
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

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

}  // namespace dmoerm::comm
