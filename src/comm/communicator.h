// The collectives that training uses, behind one interface: a single process, MPI, NCCL.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dmoerm::comm {

/// A group of ranks doing one task together. Calls are collective over the group and made in the same order by all its ranks.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;

  /// Sum `values` over the ranks in one fixed binary tree over rank numbers: ((0+1)+(2+3))+..., skipping ranks from
  /// `contributors` on, which hold nothing. All ranks receive the sum, with the same bits for any size() that is a power of two,
  /// when each rank's own part was summed in the same tree over the micro batches it holds (see micro_batch_range).
  /// @param contributors  number of leading ranks that hold a summand, 1..size()
  virtual void tree_sum(std::span<float> values, int contributors) = 0;
  /// Send `bytes` of rank `root` to all.
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// Every rank's bytes (lengths may differ), in rank order.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) = 0;
  virtual void barrier() = 0;
  /// From now on a collective that takes longer than this throws CommError; default: DMOERM_COMM_TIMEOUT_S, or 600.
  virtual void limit_waits(double seconds) = 0;
  /// A collective under way or begun once `broken` is true throws CommError: the rest of the group has given up. Not to be used
  /// any more then. @param broken  outlives the communicator
  virtual void break_when(const std::atomic<bool>& broken) = 0;
};

/// The largest number that a rank of the group names. Collective. @param here  0..255
int largest_of(Communicator& group, int here);

/// A group of one.
std::unique_ptr<Communicator> single();

/// The micro batches [first, last) of a rank: leaves of a complete binary tree over `count` micro batches, cut into `size` (a
/// power of two) equal subtrees. `contributors` is how many leading ranks get at least one.
struct MicroBatchRange {
  std::int64_t first = 0, last = 0;
  int contributors = 1;
};
MicroBatchRange micro_batch_range(std::int64_t count, int rank, int size);

/// Adds up buffers that arrive in micro-batch order as a binary tree over their numbers, holding at most log2(count) + 1 of them.
class TreeSum {
 public:
  explicit TreeSum(std::size_t width) : width_(width) {}
  /// The next leaf. `values` has `width` elements.
  void add(std::span<const float> values);
  /// The sum of all leaves; zeros if there were none. Resets.
  std::vector<float> finish();

 private:
  std::size_t width_;
  std::vector<std::pair<int, std::vector<float>>> pending_;  // (height, sum), heights falling
};

}  // namespace dmoerm::comm
