// The collectives that training uses, behind one interface: a single process, MPI, NCCL.
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

/// A collective under way. Its buffers must stay until it is done.
class Pending {
 public:
  /// Done already.
  Pending() = default;
  /// @param waited  receives the seconds that wait() takes
  Pending(std::future<void> done, double* waited) : done_(std::move(done)), waited_(waited) {}
  Pending(Pending&&) = default;
  Pending& operator=(Pending&& other) noexcept;
  /// Waits, so that nothing writes to buffers that are gone; errors are dropped.
  ~Pending();
  /// @throws CommError as the collective would have
  void wait();

 private:
  std::future<void> done_;
  double* waited_ = nullptr;
};

/// How floats of sums travel. bfloat16: summands are rounded before they are sent, a rank's own too, then added in float32 in the
/// tree's order; the sum that all get is rounded again. Half the bytes, but the bits depend on the number of ranks.
enum class Wire { float32, bfloat16 };

/// What a group's collectives cost a rank so far.
struct Traffic {
  double seconds = 0;       ///< in which the rank waited for them
  std::uint64_t bytes = 0;  ///< it sent
};

/// Chunks of a buffer: chunk r, of rank r, is [bounds[r], bounds[r + 1]). size() + 1 numbers, rising; chunks may be empty.
using Bounds = std::vector<std::size_t>;

/// A group of ranks doing one task together. Calls are collective over the group and made in the same order by all its ranks;
/// those named start_ return at once and are carried out in that order. One thread of a rank calls.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// Where the floats of sums and chunks must lie: in the memory of the device, or in that of the host.
  [[nodiscard]] virtual bool on_device() const { return false; }

  /// Sum `values` over the ranks in one fixed binary tree over rank numbers: ((0+1)+(2+3))+..., skipping ranks from
  /// `contributors` on, which hold nothing. All ranks receive the sum, with the same bits for any size() that is a power of two,
  /// when each rank's own part was summed in the same tree over the micro batches it holds (see micro_batch_range).
  /// @param contributors  number of leading ranks that hold a summand, 1..size()
  void tree_sum(std::span<float> values, int contributors) { start_tree_sum(values, contributors).wait(); }
  virtual Pending start_tree_sum(std::span<float> values, int contributors) = 0;
  /// The same sum, of which each rank receives its chunk only. @param values  may be empty on ranks that hold no summand
  /// @param own  receives the chunk; may be that part of `values`
  virtual Pending start_reduce_scatter(std::span<const float> values, const Bounds& bounds, int contributors,
                                       std::span<float> own) = 0;
  /// Every rank holds its chunk of `values` and receives the others'. Never rounded.
  virtual Pending start_all_gather(std::span<float> values, const Bounds& bounds) = 0;

  /// Send `bytes` of rank `root` to all.
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// Every rank's bytes (lengths may differ), in rank order.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) = 0;
  /// Every rank's text, in rank order.
  std::vector<std::string> gather_text(std::string_view text);
  virtual void barrier() = 0;

  /// From now on a collective that takes longer than this throws CommError; default: DMOERM_COMM_TIMEOUT_S, or 600.
  virtual void limit_waits(double seconds) = 0;
  /// A collective that cannot end throws CommError once `given_up` is true: another rank has failed. The group is of no use then.
  /// @param given_up  outlives the communicator
  virtual void break_when(const std::atomic<bool>& given_up) = 0;
  [[nodiscard]] virtual double limit_s() const = 0;
  [[nodiscard]] virtual bool given_up() const = 0;
  /// How tree_sum and reduce_scatter send from now on; default float32.
  virtual void use_wire(Wire wire) = 0;
  [[nodiscard]] virtual Traffic traffic() const = 0;
};

/// The largest number that a rank of the group names. Collective. @param here  0..255
int largest_of(Communicator& group, int here);

}  // namespace dmoerm::comm
