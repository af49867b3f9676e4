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

/// What the first rank tells the others to begin with.
struct Invitation {
  ncclUniqueId id;
  ncclResult_t made;  ///< whether the first rank could make the id
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& host, int device, std::function<void*()> stream_of_caller)
      : host_(host), stream_of_caller_(std::move(stream_of_caller)), device_(device), rank_(host.rank()), size_(host.size()) {
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
    return post("tree_sum", [this, values, contributors] {
      const Bounds bounds = chunks_of_blocks(values.size(), size_, 1);
      const auto own = static_cast<std::size_t>(rank_);
      reduce_scatter(values, bounds, contributors, values.subspan(bounds[own], bounds[own + 1] - bounds[own]));
      gather(values, bounds);
    });
  }
  Pending start_reduce_scatter(std::span<const float> values, const Bounds& bounds, int contributors,
                               std::span<float> own) override {
    return post("reduce_scatter",
                [this, values, bounds, contributors, own] { reduce_scatter(values, bounds, contributors, own); });
  }
  Pending start_all_gather(std::span<float> values, const Bounds& bounds) override {
    if (size_ == 1) return {};
    return post("all_gather", [this, values, bounds] { gather(values, bounds); });
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
    if (wire != Wire::float32)
      throw ConfigError("gradient-dtype-on-gpus",
                        "cluster.gradient_dtype: bfloat16 is supported between CPUs only; set it to float32 on GPUs");
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
    void* const stream = stream_of_caller_ ? stream_of_caller_() : nullptr;
    return stream != nullptr ? static_cast<cudaStream_t>(stream) : cudaStreamLegacy;
  }

  float* scratch(std::size_t count) {
    if (count > scratch_count_) {
      DMOERM_CUDA_CALL(cudaFree(scratch_));  // this waits for the device
      scratch_ = nullptr, scratch_count_ = 0;
      void* memory = nullptr;
      DMOERM_CUDA_CALL(cudaMalloc(&memory, count * sizeof(float)));
      scratch_ = static_cast<float*>(memory), scratch_count_ = count;
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
  void reduce_scatter(std::span<const float> values, const Bounds& bounds, int contributors, std::span<float> own) {
    const float* from = values.data();
    float* const to = size_ > 1 ? scratch(bounds.back()) : nullptr;
    for (std::size_t level = 0; level < pairs_.size(); ++level) {
      const int bit = 1 << level, peer = rank_ ^ bit, me = (rank_ & bit) != 0 ? 1 : 0;
      const bool mine = (rank_ & ~(bit - 1)) < contributors, theirs = (peer & ~(bit - 1)) < contributors;
      const auto each = [&](const auto& work) {
        for (int c = 0; c < size_; ++c) {
          const std::size_t first = bounds[static_cast<std::size_t>(c)], count = bounds[static_cast<std::size_t>(c) + 1] - first;
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
    copy(own.data(), from + bounds[static_cast<std::size_t>(rank_)], own.size());
  }

  void gather(std::span<float> values, const Bounds& bounds) {
    CallGroup calls;
    for (int r = 0; r < size_; ++r) {
      float* const chunk = values.data() + bounds[static_cast<std::size_t>(r)];
      const std::size_t count = bounds[static_cast<std::size_t>(r) + 1] - bounds[static_cast<std::size_t>(r)];
      if (count > 0) DMOERM_NCCL_CALL(ncclBroadcast(chunk, chunk, count, ncclFloat, r, all_, stream_));
      if (r == rank_) bytes_ += count * sizeof(float) * static_cast<std::size_t>(size_ - 1);
    }
    calls.end();
    settle(all_, "all_gather");
  }

  Communicator& host_;
  std::function<void*()> stream_of_caller_;
  int device_, rank_, size_;
  cudaStream_t stream_ = nullptr;
  ncclComm_t all_ = nullptr;
  std::vector<ncclComm_t> pairs_;  ///< [k]: communicator of this rank and the one that differs in bit k
  float* scratch_ = nullptr;       ///< sums of subtrees
  std::size_t scratch_count_ = 0;
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

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device, const std::function<void*()>& stream) {
  const std::string own = gpu_name(device);
  std::set<std::string> gpus;
  for (std::string& name : host.gather_text(own)) gpus.insert(std::move(name));
  if (gpus.contains("") || static_cast<int>(gpus.size()) < host.size()) return nullptr;
  return std::make_unique<NcclCommunicator>(host, device, stream);
}

bool nccl_built_in() { return true; }

}  // namespace dmoerm::comm

#else  // built without NCCL

namespace dmoerm::comm {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& /*host*/, int /*device*/,
                                                     const std::function<void*()>& /*stream*/) {
  return nullptr;
}

bool nccl_built_in() { return false; }

}  // namespace dmoerm::comm

#endif
