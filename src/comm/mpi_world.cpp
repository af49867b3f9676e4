#include "comm/mpi_world.h"

#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "base/host.h"
#include "comm/mpi_calls.h"
#include "comm/mpi_communicator.h"

namespace dmoerm::comm {
namespace {

using Clock = std::chrono::steady_clock;

class MpiWorld final : public World {
 public:
  MpiWorld() {
    launcher_gone();
    int provided = 0;
    DMOERM_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
    if (provided < MPI_THREAD_MULTIPLE)
      throw CommError("mpi-without-threads",
                      "this MPI library does not support MPI_THREAD_MULTIPLE, which the coordinator's thread needs");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    DMOERM_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
    DMOERM_MPI(MPI_Comm_size(MPI_COMM_WORLD, &size_));
    for (MPI_Comm& control : control_) DMOERM_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &control));
    DMOERM_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &beat_comm_));
    DMOERM_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &meet_comm_));
    beats_.resize(static_cast<std::size_t>(size_));
    MPI_Comm all = MPI_COMM_NULL;
    DMOERM_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &all));
    std::vector<int> ranks(static_cast<std::size_t>(size_));
    for (int r = 0; r < size_; ++r) ranks[static_cast<std::size_t>(r)] = r;
    all_ = make_mpi_communicator(all, ranks);
  }
  ~MpiWorld() override {
    if (launcher_gone()) std::_Exit(Stopped("").exit_code());  // MPI_Finalize would wait for the launcher
    all_.reset();
    for (MPI_Comm& control : control_) MPI_Comm_free(&control);
    MPI_Comm_free(&beat_comm_);
    MPI_Comm_free(&meet_comm_);
    MPI_Finalize();
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string host() const override { return host_name(); }
  Communicator& all() override { return *all_; }

  std::unique_ptr<Communicator> make_group(const std::vector<int>& ranks, int tag) override {
    meet(ranks, tag);
    MPI_Group world = MPI_GROUP_NULL, group = MPI_GROUP_NULL;
    MPI_Comm comm = MPI_COMM_NULL;
    DMOERM_MPI(MPI_Comm_group(MPI_COMM_WORLD, &world));
    DMOERM_MPI(MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &group));
    DMOERM_MPI(MPI_Comm_create_group(MPI_COMM_WORLD, group, tag_of(tag), &comm));
    MPI_Group_free(&group);
    MPI_Group_free(&world);
    return make_mpi_communicator(comm, ranks);
  }

  void send_control(int rank, bool to_coordinator, const std::string& text) override {
    std::vector<MPI_Request> request(1);
    DMOERM_MPI(MPI_Isend(text.data(), static_cast<int>(text.size()), MPI_CHAR, rank, 0, control_[to_coordinator ? 1 : 0],
                         request.data()));
    wait_all(request, "control message", fmt::format("rank {}", rank_), {all_->limit_s(), {rank}});
  }

  std::optional<ControlMessage> receive_control(bool as_coordinator, int timeout_ms) override {
    const auto start = Clock::now();
    for (;;) {
      if (auto received = take(control_[as_coordinator ? 1 : 0])) return received;
      if (std::chrono::duration<double, std::milli>(Clock::now() - start).count() > timeout_ms) return std::nullopt;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  bool send_beat(int rank, const std::string& text) override {
    Beat& beat = beats_[static_cast<std::size_t>(rank)];
    int left = 1;
    if (beat.request != MPI_REQUEST_NULL) DMOERM_MPI(MPI_Test(&beat.request, &left, MPI_STATUS_IGNORE));
    if (left == 0) return false;
    beat.text = text;
    DMOERM_MPI(MPI_Isend(beat.text.data(), static_cast<int>(beat.text.size()), MPI_CHAR, rank, 0, beat_comm_, &beat.request));
    return true;
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
  static constexpr int kTagsMax = 30000;  // every MPI has as many
  static int tag_of(int number) { return number % kTagsMax; }

  /// Wait for the group's ranks, with a limit, because MPI itself makes a group without one.
  void meet(const std::vector<int>& ranks, int tag) {
    std::vector<int> others = ranks;
    std::erase(others, rank_);
    std::vector<MPI_Request> requests;
    const auto exchange = [&](const std::vector<int>& peers, bool receive) {
      for (const int peer : peers) {
        MPI_Request& request = requests.emplace_back(MPI_REQUEST_NULL);
        if (receive) {
          DMOERM_MPI(MPI_Irecv(nullptr, 0, MPI_BYTE, peer, tag_of(tag), meet_comm_, &request));
        } else {
          DMOERM_MPI(MPI_Isend(nullptr, 0, MPI_BYTE, peer, tag_of(tag), meet_comm_, &request));
        }
      }
      wait_all(requests, "making a group", fmt::format("rank {}", rank_), {all_->limit_s(), others});
      requests.clear();
    };
    const bool first = rank_ == ranks.front();
    const std::vector<int> peers = first ? others : std::vector<int>{ranks.front()};
    exchange(peers, first);
    exchange(peers, !first);
  }

  struct Beat {
    std::string text;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  /// The next message of a channel, if there is one.
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
  MPI_Comm beat_comm_ = MPI_COMM_NULL, meet_comm_ = MPI_COMM_NULL;
  std::vector<Beat> beats_;                               ///< last beat sent to each rank
  MPI_Comm control_[2] = {MPI_COMM_NULL, MPI_COMM_NULL};  ///< channels to the workers and to the coordinator
  std::unique_ptr<Communicator> all_;
};

}  // namespace

bool launched_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

bool launcher_gone() {
  static const pid_t launcher = ::getppid();  // set by the first call, while the world is made
  return launched_by_mpi() && ::getppid() != launcher;
}

std::unique_ptr<World> make_mpi_world() { return std::make_unique<MpiWorld>(); }

}  // namespace dmoerm::comm
