// The collectives that training uses, behind one interface for a single process, MPI and NCCL.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::comm {

/// A collective in progress. Its buffers must exist until it is done.
class Pending {
 public:
  /// A collective that is done already.
  Pending() = default;
  /// @param waited  counter to which wait() adds the seconds that it takes
  Pending(std::future<void> done, double* waited) : done_(std::move(done)), waited_(waited) {}
  Pending(Pending&&) = default;
  Pending& operator=(Pending&& other) noexcept;
  /// Waits, so that nothing writes to buffers that no longer exist. Errors are dropped.
  ~Pending();
  /// @throws CommError as the collective would have
  void wait();

 private:
  std::future<void> done_;
  double* waited_ = nullptr;
};

/// The type in which sums travel. With bfloat16 every summand is rounded before it is sent, the rank's own too. The summands are
/// added in float32 in the order of the tree, and the sum that all ranks receive is rounded again. This halves the bytes, but the
/// result depends on the number of ranks.
enum class Wire { float32, bfloat16 };

/// What the collectives of a group have cost a rank so far.
struct Traffic {
  double seconds = 0;       ///< seconds that the rank waited
  std::uint64_t bytes = 0;  ///< bytes that the rank sent
};

/// Chunks of a buffer, one per rank: chunk r is [bounds[r], bounds[r + 1]). The bounds are size() + 1 ascending numbers; chunks
/// may be empty.
using Bounds = std::vector<std::size_t>;

/// A group of ranks that work on one task together. Every call is collective: all ranks of the group make the same calls in the
/// same order. Calls named start_ return at once and are carried out in that order. Only one thread of a rank may call.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// Whether the floats of sums and chunks must lie in the memory of the device. Otherwise they lie in that of the host.
  [[nodiscard]] virtual bool on_device() const { return false; }

  /// Sum `values` over the ranks in one fixed binary tree over rank numbers: ((0+1)+(2+3))+... Ranks from `contributors` on hold
  /// nothing and are skipped. All ranks receive the sum. Its bits are the same for any size() that is a power of two, if each
  /// rank summed its own micro batches in the same tree (see micro_batch_range).
  /// @param contributors  number of leading ranks that hold a summand, 1..size()
  void tree_sum(std::span<float> values, int contributors) { start_tree_sum(values, contributors).wait(); }
  virtual Pending start_tree_sum(std::span<float> values, int contributors) = 0;
  /// Start the same sum, of which each rank receives its own chunk only.
  /// @param values  summand; may be empty on ranks that hold none
  /// @param own     receives the chunk; may be that part of `values`
  virtual Pending start_reduce_scatter(std::span<const float> values, const Bounds& bounds, int contributors,
                                       std::span<float> own) = 0;
  /// Start to exchange the chunks of `values`: each rank holds its own chunk and receives the others. Nothing is rounded.
  virtual Pending start_all_gather(std::span<float> values, const Bounds& bounds) = 0;

  /// Send the bytes of rank `root` to all ranks.
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// The bytes of every rank, in rank order. Their lengths may differ.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) = 0;
  /// The text of every rank, in rank order.
  std::vector<std::string> gather_text(std::string_view text);
  virtual void barrier() = 0;

  /// Set the seconds after which a collective throws CommError if none of the other ranks has worked for as long (see
  /// ActivityBoard). The default is 600. If the variable DMOERM_COMM_TIMEOUT_S is set, it counts instead.
  virtual void limit_waits(double seconds) = 0;
  /// Let collectives that are waiting throw CommError once `given_up` is true, because another rank has failed. The group cannot
  /// be used after that.
  /// @param given_up  flag that outlives the communicator
  virtual void break_when(const std::atomic<bool>& given_up) = 0;
  /// A rank of the group has failed, so its ranks do not end the group together: its resources stay taken. Call it on all of its
  /// ranks or on none.
  virtual void abandon() {}
  [[nodiscard]] virtual double limit_s() const = 0;
  /// Whether a collective that has waited so long has waited too long.
  [[nodiscard]] virtual bool too_long(double waited_s) const = 0;
  [[nodiscard]] virtual bool given_up() const = 0;
  /// Set the type in which tree_sum and reduce_scatter send. The default is float32.
  virtual void use_wire(Wire wire) = 0;
  [[nodiscard]] virtual Traffic traffic() const = 0;
};

/// The largest of the numbers that the ranks of a group pass. Collective. @param here  number of this rank, 0..255
int largest_of(Communicator& group, int here);

}  // namespace dmoerm::comm
