#include "comm/mpi_world.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace dmoerm::comm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPieceBytes = std::size_t{16} << 20;  // of large transfers: bounds extra memory and keeps counts in an int

void check(int code, const char* call, const char* file, int line) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  MPI_Error_string(code, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw CommError(fmt::format("{} failed on rank {}: {} ({}:{})", call, rank, text, file, line));
}
#define DMOERM_MPI(call) check((call), #call, __FILE__, __LINE__)

double timeout_s() {
  const char* text = std::getenv("DMOERM_COMM_TIMEOUT_S");
  return text != nullptr && std::atof(text) > 0 ? std::atof(text) : 600.0;
}

/// Wait without burning a core: spin shortly, then sleep; give up after the time limit, or when `broken` says so.
void wait_all(std::vector<MPI_Request>& requests, const char* what, const std::string& who, double limit_s = timeout_s(),
              const std::atomic<bool>* broken = nullptr) {
  const auto start = Clock::now();
  for (std::int64_t turn = 0;; ++turn) {
    int done = 0;
    DMOERM_MPI(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE));
    if (done != 0) return;
    if (broken != nullptr && *broken)
      throw CommError(fmt::format("{} on {} cannot end: another rank of the group has failed", what, who));
    const double waited = std::chrono::duration<double>(Clock::now() - start).count();
    if (waited < 50e-6) {
      ::sched_yield();
    } else if (waited > limit_s) {
      throw CommError(fmt::format(
          "{} took longer than {} s on {}: a rank of the group is gone or stuck (DMOERM_COMM_TIMEOUT_S sets the limit)", what,
          limit_s, who));
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(waited < 0.01 ? 20 : 200));
    }
  }
}

class MpiCommunicator final : public Communicator {
 public:
  /// @param owned  free the communicator in the end
  MpiCommunicator(MPI_Comm comm, std::vector<int> ranks) : comm_(comm), ranks_(std::move(ranks)) {
    DMOERM_MPI(MPI_Comm_rank(comm_, &rank_));
    DMOERM_MPI(MPI_Comm_size(comm_, &size_));
    DMOERM_MPI(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
  }
  ~MpiCommunicator() override {
    if (broken_ == nullptr || !*broken_) MPI_Comm_free(&comm_);  // else collectives are under way that nobody will finish
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }

  void tree_sum(std::span<float> values, int contributors) override {
    DMOERM_CHECK(contributors >= 1 && contributors <= size_, "contributors are leading ranks of the group");
    if (size_ == 1) return;
    // In pieces; of each piece every rank sums one chunk over all contributors in the tree's order, then all gather the chunks.
    const std::size_t piece = kPieceBytes / sizeof(float);
    for (std::size_t begin = 0; begin < values.size(); begin += piece)
      sum_piece(values.subspan(begin, std::min(piece, values.size() - begin)), contributors);
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    for (std::size_t begin = 0; begin < bytes.size(); begin += kPieceBytes) {
      std::vector<MPI_Request> request(1);
      const auto part = bytes.subspan(begin, std::min(kPieceBytes, bytes.size() - begin));
      DMOERM_MPI(MPI_Ibcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, comm_, request.data()));
      wait_all(request, "broadcast", who(), limit_s_, broken_);
    }
  }

  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) override {
    std::vector<std::uint64_t> sizes(static_cast<std::size_t>(size_));
    std::uint64_t own = bytes.size();
    std::vector<MPI_Request> request(1);
    DMOERM_MPI(MPI_Iallgather(&own, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, comm_, request.data()));
    wait_all(request, "all_gather", who(), limit_s_, broken_);
    std::vector<std::vector<std::byte>> gathered;
    for (int r = 0; r < size_; ++r) {
      gathered.emplace_back(sizes[static_cast<std::size_t>(r)]);
      if (r == rank_) std::ranges::copy(bytes, gathered.back().begin());
      broadcast(gathered.back(), r);
    }
    return gathered;
  }

  void barrier() override {
    std::vector<MPI_Request> request(1);
    DMOERM_MPI(MPI_Ibarrier(comm_, request.data()));
    wait_all(request, "barrier", who(), limit_s_, broken_);
  }

  void limit_waits(double seconds) override { limit_s_ = seconds; }
  void break_when(const std::atomic<bool>& broken) override { broken_ = &broken; }

 private:
  [[nodiscard]] std::string who() const {
    return fmt::format("rank {} of group {}", ranks_.empty() ? rank_ : ranks_[static_cast<std::size_t>(rank_)], ranks_);
  }

  /// Chunk c of `count` floats: [first, second).
  [[nodiscard]] std::pair<std::size_t, std::size_t> chunk(std::size_t count, int c) const {
    const auto n = static_cast<std::size_t>(size_), i = static_cast<std::size_t>(c);
    return {count * i / n, count * (i + 1) / n};
  }

  void sum_piece(std::span<float> values, int contributors) {
    const auto [first, last] = chunk(values.size(), rank_);
    const std::size_t own = last - first;
    std::vector<std::vector<float>> parts(static_cast<std::size_t>(contributors));
    std::vector<MPI_Request> requests;
    const auto post = [&] { return &requests.emplace_back(MPI_REQUEST_NULL); };
    for (int r = 0; r < contributors; ++r) {
      parts[static_cast<std::size_t>(r)].resize(own);
      if (r == rank_) {
        std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(first), own, parts[static_cast<std::size_t>(r)].begin());
      } else {
        DMOERM_MPI(
            MPI_Irecv(parts[static_cast<std::size_t>(r)].data(), static_cast<int>(own), MPI_FLOAT, r, kTag, comm_, post()));
      }
    }
    for (int r = 0; r < size_ && rank_ < contributors; ++r) {
      const auto [begin, end] = chunk(values.size(), r);
      if (r != rank_)
        DMOERM_MPI(MPI_Isend(values.data() + begin, static_cast<int>(end - begin), MPI_FLOAT, r, kTag, comm_, post()));
    }
    wait_all(requests, "tree_sum", who(), limit_s_, broken_);
    for (std::size_t step = 1; step < parts.size(); step *= 2) {
      for (std::size_t r = 0; r + step < parts.size(); r += 2 * step) {
        for (std::size_t i = 0; i < own; ++i) parts[r][i] += parts[r + step][i];
      }
    }
    std::ranges::copy(parts[0], values.begin() + static_cast<std::ptrdiff_t>(first));
    std::vector<int> counts, offsets;
    for (int r = 0; r < size_; ++r) {
      const auto [begin, end] = chunk(values.size(), r);
      counts.push_back(static_cast<int>(end - begin)), offsets.push_back(static_cast<int>(begin));
    }
    requests.assign(1, MPI_REQUEST_NULL);
    DMOERM_MPI(MPI_Iallgatherv(parts[0].data(), static_cast<int>(own), MPI_FLOAT, values.data(), counts.data(), offsets.data(),
                               MPI_FLOAT, comm_, requests.data()));
    wait_all(requests, "tree_sum", who(), limit_s_, broken_);
  }

  static constexpr int kTag = 7;
  double limit_s_ = timeout_s();
  const std::atomic<bool>* broken_ = nullptr;
  MPI_Comm comm_;
  std::vector<int> ranks_;
  int rank_ = 0, size_ = 1;
};

class MpiWorld final : public World {
 public:
  MpiWorld() {
    int provided = 0;
    DMOERM_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
    if (provided < MPI_THREAD_MULTIPLE)
      throw CommError("this MPI library gives no MPI_THREAD_MULTIPLE, which the coordinator's thread needs");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    DMOERM_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
    DMOERM_MPI(MPI_Comm_size(MPI_COMM_WORLD, &size_));
    for (MPI_Comm& control : control_) DMOERM_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &control));
    DMOERM_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &beat_comm_));
    beats_.resize(static_cast<std::size_t>(size_));
    MPI_Comm all = MPI_COMM_NULL;
    DMOERM_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &all));
    std::vector<int> ranks(static_cast<std::size_t>(size_));
    for (int r = 0; r < size_; ++r) ranks[static_cast<std::size_t>(r)] = r;
    all_ = std::make_unique<MpiCommunicator>(all, ranks);
  }
  ~MpiWorld() override {
    all_.reset();
    for (MPI_Comm& control : control_) MPI_Comm_free(&control);
    MPI_Comm_free(&beat_comm_);
    MPI_Finalize();
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string host() const override {
    char name[256] = "localhost";
    ::gethostname(name, sizeof name - 1);
    return name;
  }
  Communicator& all() override { return *all_; }

  std::unique_ptr<Communicator> make_group(const std::vector<int>& ranks, int tag) override {
    MPI_Group world = MPI_GROUP_NULL, group = MPI_GROUP_NULL;
    MPI_Comm comm = MPI_COMM_NULL;
    DMOERM_MPI(MPI_Comm_group(MPI_COMM_WORLD, &world));
    DMOERM_MPI(MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &group));
    DMOERM_MPI(MPI_Comm_create_group(MPI_COMM_WORLD, group, tag % 30000, &comm));
    MPI_Group_free(&group);
    MPI_Group_free(&world);
    return std::make_unique<MpiCommunicator>(comm, ranks);
  }

  void send_control(int rank, bool to_coordinator, const std::string& text) override {
    std::vector<MPI_Request> request(1);
    DMOERM_MPI(MPI_Isend(text.data(), static_cast<int>(text.size()), MPI_CHAR, rank, 0, control_[to_coordinator ? 1 : 0],
                         request.data()));
    wait_all(request, "control message", fmt::format("rank {}", rank_));
  }

  std::optional<ControlMessage> receive_control(bool as_coordinator, int timeout_ms) override {
    const auto start = Clock::now();
    for (;;) {
      if (auto received = take(control_[as_coordinator ? 1 : 0])) return received;
      if (std::chrono::duration<double, std::milli>(Clock::now() - start).count() > timeout_ms) return std::nullopt;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void send_beat(int rank, const std::string& text) override {
    Beat& beat = beats_[static_cast<std::size_t>(rank)];
    int left = 1;
    if (beat.request != MPI_REQUEST_NULL) DMOERM_MPI(MPI_Test(&beat.request, &left, MPI_STATUS_IGNORE));
    if (left == 0) return;
    beat.text = text;
    DMOERM_MPI(MPI_Isend(beat.text.data(), static_cast<int>(beat.text.size()), MPI_CHAR, rank, 0, beat_comm_, &beat.request));
  }

  std::vector<ControlMessage> receive_beats() override {
    std::vector<ControlMessage> received;
    while (auto beat = take(beat_comm_)) received.push_back(std::move(*beat));
    return received;
  }

  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  struct Beat {
    std::string text;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  /// The next message of a channel, if one is there.
  static std::optional<ControlMessage> take(MPI_Comm comm) {
    int there = 0, length = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    DMOERM_MPI(MPI_Improbe(MPI_ANY_SOURCE, 0, comm, &there, &message, &status));
    if (there == 0) return std::nullopt;
    DMOERM_MPI(MPI_Get_count(&status, MPI_CHAR, &length));
    ControlMessage received{status.MPI_SOURCE, std::string(static_cast<std::size_t>(length), '\0')};
    DMOERM_MPI(MPI_Mrecv(received.text.data(), length, MPI_CHAR, &message, MPI_STATUS_IGNORE));
    return received;
  }

  int rank_ = 0, size_ = 1;
  MPI_Comm beat_comm_ = MPI_COMM_NULL;
  std::vector<Beat> beats_;                               ///< the last one sent to each rank
  MPI_Comm control_[2] = {MPI_COMM_NULL, MPI_COMM_NULL};  ///< to workers, to the coordinator
  std::unique_ptr<Communicator> all_;
};

}  // namespace

bool launched_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

std::unique_ptr<World> make_mpi_world() { return std::make_unique<MpiWorld>(); }

}  // namespace dmoerm::comm
