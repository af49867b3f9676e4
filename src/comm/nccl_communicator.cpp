#include "comm/nccl_communicator.h"

#ifdef DMOERM_WITH_NCCL

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

#include "base/error.h"
#include "comm/ordered_queue.h"
#include "comm/tree_sum.h"

namespace dmoerm::comm {
namespace {

using Clock = std::chrono::steady_clock;

void check_cuda(cudaError_t code, const char* call, const char* file, int line) {
  if (code != cudaSuccess)
    throw CommError("cuda-call-failed", fmt::format("{} failed: {} ({}:{})", call, cudaGetErrorString(code), file, line));
}
#define DMOERM_CUDA_CALL(call) check_cuda((call), #call, __FILE__, __LINE__)

/// A call on a non-blocking communicator may still be in progress; settle() waits for it.
void check_nccl(ncclResult_t code, const char* call, const char* file, int line) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  throw CommError("nccl-call-failed", fmt::format("{} failed: {} ({}:{})", call, ncclGetErrorString(code), file, line));
}
#define DMOERM_NCCL_CALL(call) check_nccl((call), #call, __FILE__, __LINE__)

class Event {
 public:
  Event() { DMOERM_CUDA_CALL(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  [[nodiscard]] cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// A group of NCCL calls. It ends even if a call throws: NCCL forbids to abort a communicator inside an open group.
class CallGroup {
 public:
  CallGroup() { DMOERM_NCCL_CALL(ncclGroupStart()); }
  ~CallGroup() {
    if (open_) ncclGroupEnd();
  }
  CallGroup(const CallGroup&) = delete;
  CallGroup& operator=(const CallGroup&) = delete;
  void end() {
    open_ = false;
    DMOERM_NCCL_CALL(ncclGroupEnd());
  }

 private:
  bool open_ = true;
};

/// A type of numbers that travel.
struct Number {
  ncclDataType_t type;
  std::size_t bytes;
};
constexpr Number kFloat{ncclFloat, sizeof(float)}, kBfloat16{ncclBfloat16, sizeof(std::uint16_t)};

/// What the first rank tells the others to begin with.
struct Invitation {
  ncclUniqueId id;
  ncclResult_t made;  ///< whether the first rank could make the id
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& host, int device, DeviceOps ops)
      : host_(host), ops_(std::move(ops)), device_(device), rank_(host.rank()), size_(host.size()) {
    DMOERM_CHECK(std::has_single_bit(static_cast<unsigned>(size_)), "a group has a power of two of ranks");
    DMOERM_CUDA_CALL(cudaSetDevice(device_));
    DMOERM_CUDA_CALL(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    try {
      Invitation invitation{};
      if (rank_ == 0) invitation.made = ncclGetUniqueId(&invitation.id);
      host_.broadcast(std::as_writable_bytes(std::span(&invitation, 1)), 0);
      check_nccl(invitation.made, "ncclGetUniqueId on the first rank of the group", __FILE__, __LINE__);
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      DMOERM_NCCL_CALL(ncclCommInitRankConfig(&all_, size_, invitation.id, rank_, &config));
      settle(all_, "ncclCommInitRank");
      for (int bit = 1; bit < size_; bit *= 2) {
        ncclComm_t& pair = pairs_.emplace_back(nullptr);
        DMOERM_NCCL_CALL(ncclCommSplit(all_, rank_ & ~bit, rank_, &pair, &config));
        settle(all_, "ncclCommSplit");
        settle(pair, "ncclCommSplit");
      }
    } catch (...) {
      abort();
      cudaStreamDestroy(stream_);
      throw;
    }
  }
  ~NcclCommunicator() override {
    queue_.reset();  // completes what still uses the communicators
    if (broken_ || host_.given_up()) abort();
    for (ncclComm_t comm : communicators()) {
      try {
        ncclCommFinalize(comm);
        settle(comm, "ncclCommFinalize");
        ncclCommDestroy(comm);
      } catch (const CommError&) {
        ncclCommAbort(comm);
      }
    }
    cudaSetDevice(device_);
    cudaFree(scratch_);
    cudaStreamDestroy(stream_);
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] bool on_device() const override { return true; }

  Pending start_tree_sum(std::span<float> values, int contributors) override {
    if (size_ == 1) return {};
    return post("tree_sum", [this, values, contributors, wire = wire_] {
      const Bounds bounds = chunks_of_blocks(values.size(), size_, 1);
      const std::span<float> own = values.subspan(first_of(bounds, rank_), count_of(bounds, rank_));
      reduce_scatter(values, bounds, contributors, own, wire);
      if (wire == Wire::float32) {
        gather(values.data(), kFloat, bounds);
      } else {
        gather_rounded(values, bounds);
      }
    });
  }
  Pending start_reduce_scatter(std::span<const float> values, const Bounds& bounds, int contributors,
                               std::span<float> own) override {
    return post("reduce_scatter", [this, values, bounds, contributors, own, wire = wire_] {
      reduce_scatter(values, bounds, contributors, own, wire);
    });
  }
  Pending start_all_gather(std::span<float> values, const Bounds& bounds) override {
    if (size_ == 1) return {};
    return post("all_gather", [this, values, bounds] { gather(values.data(), kFloat, bounds); });
  }

  void broadcast(std::span<std::byte> bytes, int root) override { host_.broadcast(bytes, root); }
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) override { return host_.all_gather(bytes); }
  void barrier() override { host_.barrier(); }
  void limit_waits(double seconds) override { host_.limit_waits(seconds); }
  void break_when(const std::atomic<bool>& given_up) override { host_.break_when(given_up); }
  [[nodiscard]] double limit_s() const override { return host_.limit_s(); }
  [[nodiscard]] bool too_long(double waited_s) const override { return host_.too_long(waited_s); }
  [[nodiscard]] bool given_up() const override { return host_.given_up(); }
  void use_wire(Wire wire) override {
    DMOERM_CHECK(wire == Wire::float32 || (ops_.to_bfloat16 && ops_.from_bfloat16 && ops_.add),
                 "sums in bfloat16 need DeviceOps");
    wire_ = wire;
  }
  [[nodiscard]] Traffic traffic() const override {
    const Traffic host = host_.traffic();
    return {host.seconds + waited_, host.bytes + bytes_};
  }

 private:
  /// Abort the communicators of the pairs first, because they were split off that of the group.
  [[nodiscard]] std::vector<ncclComm_t> communicators() const {
    std::vector<ncclComm_t> all = pairs_;
    all.push_back(all_);
    std::erase(all, nullptr);
    return all;
  }
  void abort() {
    for (ncclComm_t comm : communicators()) ncclCommAbort(comm);
    pairs_.clear();
    all_ = nullptr;
  }

  /// Sleep for a short time. @throws CommError when it is time to give up
  void pause(Clock::time_point start, const std::string& what) const {
    if (host_.given_up())
      throw CommError("rank-failed", fmt::format("{} on rank {} of the group cannot end: another rank has failed", what, rank_));
    if (host_.too_long(std::chrono::duration<double>(Clock::now() - start).count())) {
      throw CommError("wait-too-long",
                      fmt::format("{} took longer than {} s on rank {} of the group: one of its ranks is gone or stuck", what,
                                  host_.limit_s(), rank_));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }

  /// Wait until a call on the communicator has returned. Its work in the stream may continue.
  void settle(ncclComm_t comm, const std::string& what) const {
    const auto start = Clock::now();
    for (;;) {
      ncclResult_t state = ncclSuccess;
      DMOERM_NCCL_CALL(ncclCommGetAsyncError(comm, &state));
      if (state == ncclSuccess) return;
      if (state != ncclInProgress)
        throw CommError("nccl-call-failed",
                        fmt::format("{} failed on rank {} of the group: {}", what, rank_, ncclGetErrorString(state)));
      pause(start, what);
    }
  }

  /// Wait until the stream has finished, and check the communicators for errors meanwhile.
  void drain(const std::string& what) const {
    const Event done;
    DMOERM_CUDA_CALL(cudaEventRecord(done.get(), stream_));
    const auto start = Clock::now();
    for (;;) {
      const cudaError_t state = cudaEventQuery(done.get());
      if (state == cudaSuccess) return;
      if (state != cudaErrorNotReady) DMOERM_CUDA_CALL(state);
      for (ncclComm_t comm : communicators()) settle(comm, what);
      pause(start, what);
    }
  }

  Pending post(const std::string& what, std::function<void()> issue) {
    const auto ready = std::make_shared<Event>();
    DMOERM_CUDA_CALL(cudaEventRecord(ready->get(), stream_of_caller()));
    return {queue_->post([this, what, ready, issue = std::move(issue)] {
              if (broken_)
                throw CommError("earlier-collective-failed",
                                fmt::format("an earlier collective failed on rank {} of the group", rank_));
              try {
                DMOERM_CUDA_CALL(cudaSetDevice(device_));
                DMOERM_CUDA_CALL(cudaStreamWaitEvent(stream_, ready->get(), 0));
                issue();
                drain(what);
              } catch (...) {
                broken_ = true;
                abort();  // this also ends kernels that wait for a lost rank
                throw;
              }
            }),
            &waited_};
  }

  [[nodiscard]] cudaStream_t stream_of_caller() const {
    void* const stream = ops_.current_stream ? ops_.current_stream() : nullptr;
    return stream != nullptr ? static_cast<cudaStream_t>(stream) : cudaStreamLegacy;
  }

  static std::size_t first_of(const Bounds& bounds, int r) { return bounds[static_cast<std::size_t>(r)]; }
  static std::size_t count_of(const Bounds& bounds, int r) {
    return bounds[static_cast<std::size_t>(r) + 1] - first_of(bounds, r);
  }

  /// Memory of the GPU that the collective in progress may use. What an earlier call gave is gone.
  void* scratch(std::size_t bytes) {
    if (bytes > scratch_bytes_) {
      DMOERM_CUDA_CALL(cudaFree(scratch_));  // this waits for the device
      scratch_ = nullptr, scratch_bytes_ = 0;
      DMOERM_CUDA_CALL(cudaMalloc(&scratch_, bytes));
      scratch_bytes_ = bytes;
    }
    return scratch_;
  }

  void copy(float* to, const float* from, std::size_t count) const {
    if (to != from && count > 0)
      DMOERM_CUDA_CALL(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToDevice, stream_));
  }

  /// Sum by recursive halving: at level k the two ranks whose numbers differ only in bit k add the sums of their subtrees. A
  /// chunk is added at the rank whose number has the same bit k as the number of the chunk. NCCL adds two summands each time,
  /// whose order does not matter, so that the result is that of the tree ((0+1)+(2+3))+... Subtrees without contributors add
  /// nothing.
  void reduce_scatter(std::span<const float> values, const Bounds& bounds, int contributors, std::span<float> own, Wire wire) {
    if (wire == Wire::bfloat16 && size_ > 1) return reduce_scatter_rounded(values, bounds, contributors, own);
    const float* from = values.data();
    float* const to = size_ > 1 ? static_cast<float*>(scratch(bounds.back() * sizeof(float))) : nullptr;
    for (std::size_t level = 0; level < pairs_.size(); ++level) {
      const int bit = 1 << level, peer = rank_ ^ bit, me = (rank_ & bit) != 0 ? 1 : 0;
      const bool mine = (rank_ & ~(bit - 1)) < contributors, theirs = (peer & ~(bit - 1)) < contributors;
      const auto each = [&](const auto& work) {
        for (int c = 0; c < size_; ++c) {
          const std::size_t first = first_of(bounds, c), count = count_of(bounds, c);
          if ((c & (bit - 1)) == (rank_ & (bit - 1)) && count > 0) work((c & bit) != 0 ? 1 : 0, first, count);
        }
      };
      CallGroup calls;
      each([&](int root, std::size_t first, std::size_t count) {
        if (mine && theirs) {
          DMOERM_NCCL_CALL(ncclReduce(from + first, to + first, count, ncclFloat, ncclSum, root, pairs_[level], stream_));
        } else if (mine && root != me) {
          DMOERM_NCCL_CALL(ncclSend(from + first, count, ncclFloat, root, pairs_[level], stream_));
        } else if (theirs && root == me) {
          DMOERM_NCCL_CALL(ncclRecv(to + first, count, ncclFloat, 1 - me, pairs_[level], stream_));
        }
        if (mine && root != me) bytes_ += count * sizeof(float);
      });
      calls.end();
      settle(pairs_[level], "reduce_scatter");
      if (mine && !theirs) {
        each([&](int root, std::size_t first, std::size_t count) {
          if (root == me) copy(to + first, from + first, count);
        });
      }
      from = to;
    }
    copy(own.data(), from + first_of(bounds, rank_), own.size());
  }

  /// The sum of rounded summands: each rank sends them in bfloat16 to the ranks of their chunks, which add in float32. A sum
  /// of NCCL would round at every level of the tree.
  void reduce_scatter_rounded(std::span<const float> values, const Bounds& bounds, int contributors, std::span<float> own) {
    const std::size_t sums = slots_of_tree(contributors) * own.size(), all = bounds.back();
    const std::size_t parts = static_cast<std::size_t>(contributors) * own.size();
    auto* const slots = static_cast<float*>(scratch(sums * sizeof(float) + (all + parts) * sizeof(std::uint16_t)));
    auto* const rounded = reinterpret_cast<std::uint16_t*>(slots + sums);
    std::uint16_t* const arrived = rounded + all;  // the part of rank r begins at r * own.size(); this rank's own is not used
    if (rank_ < contributors && all > 0) ops_.to_bfloat16(values.first(all), {rounded, all}, stream_);
    CallGroup calls;
    for (int peer = 0; peer < size_; ++peer) {
      const std::size_t first = first_of(bounds, peer), count = count_of(bounds, peer);
      if (peer == rank_) continue;
      if (rank_ < contributors && count > 0) {
        DMOERM_NCCL_CALL(ncclSend(rounded + first, count, kBfloat16.type, peer, all_, stream_));
        bytes_ += count * kBfloat16.bytes;
      }
      if (peer < contributors && !own.empty()) {
        std::uint16_t* const part = arrived + static_cast<std::size_t>(peer) * own.size();
        DMOERM_NCCL_CALL(ncclRecv(part, own.size(), kBfloat16.type, peer, all_, stream_));
      }
    }
    calls.end();
    settle(all_, "reduce_scatter");
    if (own.empty()) return;
    std::vector<const std::uint16_t*> in_order;
    for (int r = 0; r < contributors; ++r)
      in_order.push_back(r == rank_ ? rounded + first_of(bounds, rank_) : arrived + static_cast<std::size_t>(r) * own.size());
    add_rounded(in_order, slots, own);
  }

  /// Buffers that a tree over so many summands needs at once: one for each level, and one for the next summand.
  static std::size_t slots_of_tree(int summands) { return std::bit_width(static_cast<unsigned>(summands)) + std::size_t{1}; }

  /// Add up the ranks' parts of this rank's chunk in the order of the tree.
  /// @param slots  slots_of_tree(parts.size()) buffers of the chunk's length
  void add_rounded(const std::vector<const std::uint16_t*>& parts, float* slots, std::span<float> own) const {
    const std::size_t count = own.size();
    std::vector<float*> unused;
    for (std::size_t i = 0; i < slots_of_tree(static_cast<int>(parts.size())); ++i) unused.push_back(slots + i * count);
    const auto add = [&](float* sum, float* more) {
      ops_.add({sum, count}, {more, count}, stream_);
      unused.push_back(more);
    };
    TreeSum<float*, decltype(add)> tree(add);
    for (const std::uint16_t* part : parts) {
      float* const summand = unused.back();
      unused.pop_back();
      ops_.from_bfloat16({part, count}, {summand, count}, stream_);
      tree.add(summand);
    }
    copy(own.data(), tree.finish().value(), count);
  }

  /// Exchange the chunks of `data` among all ranks, in place.
  void gather(void* data, Number number, const Bounds& bounds) {
    CallGroup calls;
    for (int r = 0; r < size_; ++r) {
      auto* const chunk = static_cast<std::byte*>(data) + first_of(bounds, r) * number.bytes;
      const std::size_t count = count_of(bounds, r);
      if (count > 0) DMOERM_NCCL_CALL(ncclBroadcast(chunk, chunk, count, number.type, r, all_, stream_));
      if (r == rank_) bytes_ += count * number.bytes * static_cast<std::size_t>(size_ - 1);
    }
    calls.end();
    settle(all_, "all_gather");
  }
  /// The same in bfloat16; the rank's own chunk is rounded too.
  void gather_rounded(std::span<float> values, const Bounds& bounds) {
    if (values.empty()) return;
    auto* const rounded = static_cast<std::uint16_t*>(scratch(values.size() * sizeof(std::uint16_t)));
    const std::size_t first = first_of(bounds, rank_), count = count_of(bounds, rank_);
    if (count > 0) ops_.to_bfloat16(values.subspan(first, count), {rounded + first, count}, stream_);
    gather(rounded, kBfloat16, bounds);
    ops_.from_bfloat16({rounded, values.size()}, values, stream_);
  }

  Communicator& host_;
  DeviceOps ops_;
  int device_, rank_, size_;
  cudaStream_t stream_ = nullptr;
  ncclComm_t all_ = nullptr;
  std::vector<ncclComm_t> pairs_;  ///< [k]: communicator of this rank and the one that differs in bit k
  void* scratch_ = nullptr;        ///< sums of subtrees, and what is rounded
  std::size_t scratch_bytes_ = 0;
  Wire wire_ = Wire::float32;
  std::atomic<bool> broken_ = false;
  double waited_ = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::unique_ptr<OrderedQueue> queue_ = std::make_unique<OrderedQueue>();
};

/// A name that no other GPU of any machine has; "" if the device does not exist.
std::string gpu_name(int device) {
  cudaDeviceProp properties{};
  if (device < 0 || cudaGetDeviceProperties(&properties, device) != cudaSuccess) return "";
  return {properties.uuid.bytes, sizeof properties.uuid.bytes};
}

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device, const DeviceOps& ops) {
  const std::string own = gpu_name(device);
  std::set<std::string> gpus;
  for (std::string& name : host.gather_text(own)) gpus.insert(std::move(name));
  if (gpus.contains("") || static_cast<int>(gpus.size()) < host.size()) return nullptr;
  return std::make_unique<NcclCommunicator>(host, device, ops);
}

}  // namespace dmoerm::comm

#else  // built without NCCL

namespace dmoerm::comm {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& /*host*/, int /*device*/, const DeviceOps& /*ops*/) {
  return nullptr;
}

}  // namespace dmoerm::comm

#endif
