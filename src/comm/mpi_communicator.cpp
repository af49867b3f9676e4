#include "comm/mpi_communicator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/error.h"
#include "comm/bfloat16.h"
#include "comm/mpi_calls.h"
#include "comm/ordered_queue.h"
#include "comm/tree_sum.h"

namespace dmoerm::comm {
namespace {

// Size of the pieces of large transfers. It bounds the extra memory and keeps counts within an int.
constexpr std::size_t kPieceBytes = std::size_t{16} << 20;
constexpr int kTag = 7;

/// The elements [first, second) of a buffer.
struct Range {
  std::size_t first = 0, last = 0;
  [[nodiscard]] std::size_t size() const { return last - first; }
};

/// Messages between pairs of ranks, all in progress at once. The collectives consist of such messages, because those of MPI
/// cannot be cancelled: MPI would continue to write into memory that has been freed.
class Messages {
 public:
  Messages(MPI_Comm comm, const std::string& who, Patience patience, std::atomic<std::uint64_t>& sent)
      : comm_(comm), who_(who), patience_(std::move(patience)), sent_(sent) {}

  void receive(void* data, std::size_t bytes, int from) {
    in_pieces(data, bytes, [&](char* piece, int count, MPI_Request* request) {
      DMOERM_MPI(MPI_Irecv(piece, count, MPI_BYTE, from, kTag, comm_, request));
    });
  }
  void send(const void* data, std::size_t bytes, int to) {
    in_pieces(const_cast<void*>(data), bytes,
              [&](char* piece, int count, MPI_Request* request) {  // MPI wants a pointer to non-const
                DMOERM_MPI(MPI_Isend(piece, count, MPI_BYTE, to, kTag, comm_, request));
              });
    sent_ += bytes;
  }
  /// Wait for all messages. @throws CommError, after which nothing uses the memory of the messages
  void wait(const char* what) {
    try {
      wait_all(requests_, what, who_, patience_);
    } catch (...) {
      give_up();
      throw;
    }
    requests_.clear();
  }

 private:
  template <class Post>
  void in_pieces(void* data, std::size_t bytes, const Post& post) {
    for (std::size_t begin = 0; begin < bytes; begin += kPieceBytes) {
      const auto count = static_cast<int>(std::min(kPieceBytes, bytes - begin));
      post(static_cast<char*>(data) + begin, count, &requests_.emplace_back(MPI_REQUEST_NULL));
    }
  }

  /// Cancel all receives to which nothing has arrived; those in progress end soon. Only sends without a receiver remain, and they
  /// do not touch any memory.
  void give_up() {
    constexpr double kEndSoonS = 5;
    for (MPI_Request& request : requests_) {
      if (request != MPI_REQUEST_NULL) MPI_Cancel(&request);
    }
    const auto start = std::chrono::steady_clock::now();
    int done = 0;
    while (done == 0 && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < kEndSoonS) {
      MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  MPI_Comm comm_;
  const std::string& who_;
  Patience patience_;
  std::atomic<std::uint64_t>& sent_;
  std::vector<MPI_Request> requests_;
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
    queue_.reset();                                               // completes what still uses the communicator
    const bool unfinished = broken_ || abandoned_ || given_up();  // freeing would wait for the others
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
    now([&] {
      Messages messages = new_messages();
      for (int r = 0; r < size_; ++r) {
        if (rank_ == root && r != root) messages.send(bytes.data(), bytes.size(), r);
      }
      if (rank_ != root) messages.receive(bytes.data(), bytes.size(), root);
      messages.wait("broadcast");
    });
  }

  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) override {
    std::vector<std::vector<std::byte>> gathered(static_cast<std::size_t>(size_));
    now([&] { gather_bytes("all_gather", bytes, gathered); });
    return gathered;
  }

  void barrier() override {
    std::vector<std::vector<std::byte>> nothing(static_cast<std::size_t>(size_));
    now([&] { gather_bytes("barrier", {}, nothing); });
  }

  void limit_waits(double seconds) override { limit_s_ = limit_or(seconds); }
  void break_when(const std::atomic<bool>& given_up) override { given_up_ = &given_up; }
  void abandon() override { abandoned_ = true; }
  [[nodiscard]] double limit_s() const override { return limit_s_; }
  [[nodiscard]] bool too_long(double waited_s) const override { return patience().over(waited_s); }
  [[nodiscard]] bool given_up() const override {
    const std::atomic<bool>* flag = given_up_;
    return flag != nullptr && *flag;
  }
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

  /// Once a collective has failed, the later ones fail at once, because other ranks will not take part.
  void guarded(const std::function<void()>& job) {
    if (broken_) throw CommError("earlier-collective-failed", fmt::format("an earlier collective failed on {}", who_));
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

  [[nodiscard]] Patience patience() const {
    Patience patience{limit_s_, ranks_, given_up_};
    std::erase(patience.others, ranks_[static_cast<std::size_t>(rank_)]);
    return patience;
  }
  Messages new_messages() { return {comm_, who_, patience(), bytes_}; }

  void gather_bytes(const char* what, std::span<const std::byte> own, std::vector<std::vector<std::byte>>& gathered) {
    std::vector<std::uint64_t> sizes(gathered.size(), own.size());
    Messages lengths = new_messages(), contents = new_messages();
    const std::uint64_t own_size = own.size();
    const auto to_all = [&](Messages& messages, const void* data, std::size_t bytes) {
      for (int r = 0; r < size_; ++r) {
        if (r != rank_) messages.send(data, bytes, r);
      }
      messages.wait(what);
    };
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) lengths.receive(&sizes[static_cast<std::size_t>(r)], sizeof(std::uint64_t), r);
    }
    to_all(lengths, &own_size, sizeof own_size);
    for (int r = 0; r < size_; ++r) {
      auto& part = gathered[static_cast<std::size_t>(r)];
      part.resize(sizes[static_cast<std::size_t>(r)]);
      if (r != rank_) contents.receive(part.data(), part.size(), r);
    }
    std::ranges::copy(own, gathered[static_cast<std::size_t>(rank_)].begin());
    to_all(contents, own.data(), own.size());
  }

  /// Call `work` for one piece after another of all chunks, with a function that gives the range of each rank.
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

  /// Let every rank sum its chunk over all contributors in the order of the tree.
  void reduce_scatter(const char* what, std::span<const float> values, const Bounds& bounds, int contributors,
                      std::span<float> own, Wire wire) {
    const std::size_t offset = chunk(bounds, rank_).first;
    in_pieces(bounds, [&](const auto& part_of) {
      const Range mine = part_of(rank_);
      std::vector<std::vector<float>> parts(static_cast<std::size_t>(contributors), std::vector<float>(mine.size()));
      std::vector<std::vector<std::uint16_t>> halves;  // bfloat16 values in transit; their heap buffers do not move
      Messages messages = new_messages();
      const bool rounds = wire == Wire::bfloat16;
      const auto transfer = [&](float* floats, std::size_t count, int peer, bool receive) {
        if (count == 0) return;
        void* data = floats;
        if (rounds) {
          auto& half = halves.emplace_back(count);
          if (!receive) std::transform(floats, floats + count, half.begin(), to_bfloat16);
          data = half.data();
        }
        const std::size_t bytes = count * (rounds ? sizeof(std::uint16_t) : sizeof(float));
        if (receive) {
          messages.receive(data, bytes, peer);
        } else {
          messages.send(data, bytes, peer);
        }
      };
      for (int r = 0; r < contributors; ++r) {
        if (r != rank_) transfer(parts[static_cast<std::size_t>(r)].data(), mine.size(), r, true);
      }
      for (int r = 0; r < size_ && rank_ < contributors; ++r) {
        const Range theirs = part_of(r);
        // MPI wants a pointer to non-const data even to send.
        if (r != rank_) transfer(const_cast<float*>(values.data()) + theirs.first, theirs.size(), r, false);
      }
      if (rank_ < contributors) {
        auto& summand = parts[static_cast<std::size_t>(rank_)];
        std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(mine.first), mine.size(), summand.begin());
        if (rounds) std::ranges::transform(summand, summand.begin(), [](float v) { return from_bfloat16(to_bfloat16(v)); });
      }
      messages.wait(what);
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

  /// Exchange the chunks of `data` among all ranks, in place.
  void gather(const char* what, void* data, std::size_t bytes_each, const Bounds& bounds) {
    Messages messages = new_messages();
    const auto part = [&](int r) {
      const Range range = chunk(bounds, r);
      return std::span(static_cast<std::byte*>(data) + range.first * bytes_each, range.size() * bytes_each);
    };
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) messages.receive(part(r).data(), part(r).size(), r);
    }
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) messages.send(part(rank_).data(), part(rank_).size(), r);
    }
    messages.wait(what);
  }
  void gather(const char* what, std::span<float> values, const Bounds& bounds) {
    gather(what, values.data(), sizeof(float), bounds);
  }
  void gather_rounded(std::span<float> values, const Bounds& bounds) {
    const Range own = chunk(bounds, rank_);
    std::vector<std::uint16_t> halves(values.size());
    for (std::size_t i = own.first; i < own.last; ++i) halves[i] = to_bfloat16(values[i]);
    gather("tree_sum", halves.data(), sizeof(std::uint16_t), bounds);
    std::ranges::transform(halves, values.begin(), from_bfloat16);
  }

  MPI_Comm comm_;
  std::vector<int> ranks_;
  std::string who_;
  int rank_ = 0, size_ = 1;
  std::atomic<double> limit_s_ = limit_or(kDefaultLimitS);
  const std::atomic<bool>* given_up_ = nullptr;
  Wire wire_ = Wire::float32;
  std::atomic<bool> broken_ = false;
  bool abandoned_ = false;
  double waited_ = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::unique_ptr<OrderedQueue> queue_ = std::make_unique<OrderedQueue>();
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm comm, const std::vector<int>& ranks) {
  return std::make_unique<MpiCommunicator>(comm, ranks);
}

}  // namespace dmoerm::comm
