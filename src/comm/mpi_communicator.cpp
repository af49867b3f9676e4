#include "comm/mpi_communicator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <functional>

#include "base/error.h"
#include "comm/bfloat16.h"
#include "comm/mpi_calls.h"
#include "comm/ordered_queue.h"

namespace dmoerm::comm {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{16} << 20;  // of large transfers: bounds extra memory and keeps counts in an int
constexpr int kTag = 7;

/// [first, second) of a buffer.
struct Range {
  std::size_t first = 0, last = 0;
  [[nodiscard]] std::size_t size() const { return last - first; }
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, std::vector<int> ranks) : comm_(comm), ranks_(std::move(ranks)) {
    DMOERM_MPI(MPI_Comm_rank(comm_, &rank_));
    DMOERM_MPI(MPI_Comm_size(comm_, &size_));
    DMOERM_MPI(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
    who_ = fmt::format("rank {} of group {}", ranks_[static_cast<std::size_t>(rank_)], ranks_);
  }
  ~MpiCommunicator() override {
    queue_.reset();                                                           // ends what still uses the communicator
    const bool unfinished = broken_ || (given_up_ != nullptr && *given_up_);  // freeing would wait for the others
    if (!unfinished) MPI_Comm_free(&comm_);
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }

  Pending start_tree_sum(std::span<float> values, int contributors) override {
    check_contributors(contributors);
    if (size_ == 1) return {};
    return post([this, values, contributors, wire = wire_] {
      const Bounds bounds = chunks_of_blocks(values.size(), size_, 1);
      const Range own = chunk(bounds, rank_);
      reduce_scatter("tree_sum", values, bounds, contributors, values.subspan(own.first, own.size()), wire);
      if (wire == Wire::float32) {
        gather("tree_sum", values, bounds);
      } else {
        gather_rounded(values, bounds);
      }
    });
  }

  Pending start_reduce_scatter(std::span<const float> values, const Bounds& bounds, int contributors,
                               std::span<float> own) override {
    check_contributors(contributors);
    DMOERM_CHECK(own.size() == chunk(bounds, rank_).size(), "a rank receives its chunk");
    if (size_ == 1) {
      if (own.data() != values.data()) std::ranges::copy(values, own.begin());
      return {};
    }
    return post([this, values, bounds, contributors, own, wire = wire_] {
      reduce_scatter("reduce_scatter", values, bounds, contributors, own, wire);
    });
  }

  Pending start_all_gather(std::span<float> values, const Bounds& bounds) override {
    if (size_ == 1) return {};
    return post([this, values, bounds] { gather("all_gather", values, bounds); });
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    now([&] { send_from(bytes, root); });
  }

  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) override {
    std::vector<std::vector<std::byte>> gathered;
    now([&] {
      std::vector<std::uint64_t> sizes(static_cast<std::size_t>(size_));
      std::uint64_t own = bytes.size();
      std::vector<MPI_Request> request(1);
      DMOERM_MPI(MPI_Iallgather(&own, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, comm_, request.data()));
      wait_all(request, "all_gather", who_, limit_s_, given_up_);
      for (int r = 0; r < size_; ++r) {
        gathered.emplace_back(sizes[static_cast<std::size_t>(r)]);
        if (r == rank_) std::ranges::copy(bytes, gathered.back().begin());
        send_from(gathered.back(), r);
      }
    });
    return gathered;
  }

  void barrier() override {
    now([&] {
      std::vector<MPI_Request> request(1);
      DMOERM_MPI(MPI_Ibarrier(comm_, request.data()));
      wait_all(request, "barrier", who_, limit_s_, given_up_);
    });
  }

  void limit_waits(double seconds) override { limit_s_ = seconds; }
  void break_when(const std::atomic<bool>& given_up) override { given_up_ = &given_up; }
  void use_wire(Wire wire) override { wire_ = wire; }
  [[nodiscard]] Traffic traffic() const override { return {waited_, bytes_}; }

 private:
  static Range chunk(const Bounds& bounds, int r) {
    const auto i = static_cast<std::size_t>(r);
    return {bounds.at(i), bounds.at(i + 1)};
  }
  void check_contributors(int contributors) const {
    DMOERM_CHECK(contributors >= 1 && contributors <= size_, "contributors are leading ranks of the group");
  }

  /// Once a collective failed, those after it fail at once: the others will not come.
  void guarded(const std::function<void()>& job) {
    if (broken_) throw CommError(fmt::format("an earlier collective failed on {}", who_));
    try {
      job();
    } catch (...) {
      broken_ = true;
      throw;
    }
  }
  Pending post(std::function<void()> job) {
    return {queue_->post([this, job = std::move(job)] { guarded(job); }), &waited_};
  }
  void now(const std::function<void()>& job) {
    const auto start = std::chrono::steady_clock::now();
    queue_->run([&] { guarded(job); });
    waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  void send_from(std::span<std::byte> bytes, int root) {
    for (std::size_t begin = 0; begin < bytes.size(); begin += kPieceBytes) {
      std::vector<MPI_Request> request(1);
      const auto part = bytes.subspan(begin, std::min(kPieceBytes, bytes.size() - begin));
      DMOERM_MPI(MPI_Ibcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, comm_, request.data()));
      wait_all(request, "broadcast", who_, limit_s_, given_up_);
    }
    if (rank_ == root) bytes_ += bytes.size() * static_cast<std::size_t>(size_ - 1);
  }

  /// Calls `work` with piece after piece of every rank's chunk: a function from a rank to its range.
  template <class Work>
  void in_pieces(const Bounds& bounds, const Work& work) const {
    const std::size_t piece = kPieceBytes / sizeof(float) / static_cast<std::size_t>(size_);
    std::size_t longest = 0;
    for (int r = 0; r < size_; ++r) longest = std::max(longest, chunk(bounds, r).size());
    for (std::size_t begin = 0; begin < longest; begin += piece) {
      work([&bounds, begin, piece](int r) {
        const Range whole = chunk(bounds, r);
        return Range{std::min(whole.last, whole.first + begin), std::min(whole.last, whole.first + begin + piece)};
      });
    }
  }

  /// Every rank sums its chunk over all contributors in the tree's order.
  void reduce_scatter(const char* what, std::span<const float> values, const Bounds& bounds, int contributors,
                      std::span<float> own, Wire wire) {
    const std::size_t offset = chunk(bounds, rank_).first;
    in_pieces(bounds, [&](const auto& part_of) {
      const Range mine = part_of(rank_);
      std::vector<std::vector<float>> parts(static_cast<std::size_t>(contributors), std::vector<float>(mine.size()));
      std::vector<std::vector<std::uint16_t>> halves;  // bfloat16 under way; the heap buffers stay where they are
      std::vector<MPI_Request> requests;
      const bool rounds = wire == Wire::bfloat16;
      const auto transfer = [&](float* floats, std::size_t count, int peer, bool receive) {
        if (count == 0) return;
        void* data = floats;
        if (rounds) {
          auto& half = halves.emplace_back(count);
          if (!receive) std::transform(floats, floats + count, half.begin(), to_bfloat16);
          data = half.data();
        }
        MPI_Request* request = &requests.emplace_back(MPI_REQUEST_NULL);
        const MPI_Datatype type = rounds ? MPI_UINT16_T : MPI_FLOAT;
        if (receive) {
          DMOERM_MPI(MPI_Irecv(data, static_cast<int>(count), type, peer, kTag, comm_, request));
        } else {
          DMOERM_MPI(MPI_Isend(data, static_cast<int>(count), type, peer, kTag, comm_, request));
          bytes_ += count * (rounds ? sizeof(std::uint16_t) : sizeof(float));
        }
      };
      for (int r = 0; r < contributors; ++r) {
        if (r != rank_) transfer(parts[static_cast<std::size_t>(r)].data(), mine.size(), r, true);
      }
      for (int r = 0; r < size_ && rank_ < contributors; ++r) {
        const Range theirs = part_of(r);
        // MPI takes what it sends as not const.
        if (r != rank_) transfer(const_cast<float*>(values.data()) + theirs.first, theirs.size(), r, false);
      }
      if (rank_ < contributors) {
        auto& summand = parts[static_cast<std::size_t>(rank_)];
        std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(mine.first), mine.size(), summand.begin());
        if (rounds) std::ranges::transform(summand, summand.begin(), [](float v) { return from_bfloat16(to_bfloat16(v)); });
      }
      wait_all(requests, what, who_, limit_s_, given_up_);
      if (rounds && mine.size() > 0) {
        std::size_t next = 0;  // receives were posted first, in the order of ranks
        for (int r = 0; r < contributors; ++r) {
          if (r != rank_) std::ranges::transform(halves[next++], parts[static_cast<std::size_t>(r)].begin(), from_bfloat16);
        }
      }
      add_as_tree(parts);
      std::ranges::copy(parts[0], own.begin() + static_cast<std::ptrdiff_t>(mine.first - offset));
    });
  }

  /// Chunks of `data` to all, in place.
  void gather(const char* what, void* data, MPI_Datatype type, std::size_t bytes_each, const Bounds& bounds) {
    if (bounds.back() > static_cast<std::size_t>(INT_MAX))
      throw CommError(fmt::format("{} of {} elements on {}: MPI counts at most {}", what, bounds.back(), who_, INT_MAX));
    std::vector<int> counts, offsets;
    for (int r = 0; r < size_; ++r) {
      counts.push_back(static_cast<int>(chunk(bounds, r).size())), offsets.push_back(static_cast<int>(chunk(bounds, r).first));
    }
    std::vector<MPI_Request> request(1);
    DMOERM_MPI(MPI_Iallgatherv(MPI_IN_PLACE, 0, type, data, counts.data(), offsets.data(), type, comm_, request.data()));
    wait_all(request, what, who_, limit_s_, given_up_);
    bytes_ += chunk(bounds, rank_).size() * bytes_each * static_cast<std::size_t>(size_ - 1);
  }
  void gather(const char* what, std::span<float> values, const Bounds& bounds) {
    gather(what, values.data(), MPI_FLOAT, sizeof(float), bounds);
  }
  void gather_rounded(std::span<float> values, const Bounds& bounds) {
    const Range own = chunk(bounds, rank_);
    std::vector<std::uint16_t> halves(values.size());
    for (std::size_t i = own.first; i < own.last; ++i) halves[i] = to_bfloat16(values[i]);
    gather("tree_sum", halves.data(), MPI_UINT16_T, sizeof(std::uint16_t), bounds);
    std::ranges::transform(halves, values.begin(), from_bfloat16);
  }

  MPI_Comm comm_;
  std::vector<int> ranks_;
  std::string who_;
  int rank_ = 0, size_ = 1;
  std::atomic<double> limit_s_ = default_limit_s();
  const std::atomic<bool>* given_up_ = nullptr;
  Wire wire_ = Wire::float32;
  std::atomic<bool> broken_ = false;
  double waited_ = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::unique_ptr<OrderedQueue> queue_ = std::make_unique<OrderedQueue>();
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm comm, const std::vector<int>& ranks) {
  return std::make_unique<MpiCommunicator>(comm, ranks);
}

}  // namespace dmoerm::comm
