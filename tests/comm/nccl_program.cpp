// Compares sums and chunks over NCCL with a serial computation and with MPI's, bit for bit, and lets ranks stay away, leave and
// give up. Run it under mpirun on a machine with a GPU for each rank, or linked with the NCCL and CUDA of fake_nccl/. Exit code 0
// means that all checks passed, 77 that there are not enough GPUs.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "base/rng.h"
#include "comm/bfloat16.h"
#include "comm/init_world.h"
#include "comm/nccl_communicator.h"
#include "comm/tree_sum.h"
#include "support/expect.h"
#include "support/recursive_sum.h"
#ifdef DMOERM_FAKE_NCCL
#include "comm/fake_nccl/fake_cuda.h"
#include "comm/fake_nccl/fake_nccl.h"
#else
#include "train/device_ops.h"
#endif

namespace {

using namespace dmoerm;
using namespace dmoerm::comm;

using test::expect;
using test::failures;

/// The program's own passes on a GPU; where the GPU is a fake, loops that its streams carry out.
DeviceOps ops_of([[maybe_unused]] int device) {
#ifdef DMOERM_FAKE_NCCL
  const auto post = [](void* stream, std::function<void()> work) {
    test::post(static_cast<cudaStream_t>(stream), std::move(work));
  };
  return {{},
          [post](std::span<const float> from, std::span<std::uint16_t> to, void* stream) {
            post(stream, [=] { std::ranges::transform(from, to.begin(), to_bfloat16); });
          },
          [post](std::span<const std::uint16_t> from, std::span<float> to, void* stream) {
            post(stream, [=] { std::ranges::transform(from, to.begin(), from_bfloat16); });
          },
          [post](std::span<float> sum, std::span<const float> more, void* stream) {
            post(stream, [=] { std::ranges::transform(sum, more, sum.begin(), std::plus()); });
          }};
#else
  return train::device_ops({c10::kCUDA, static_cast<c10::DeviceIndex>(device)});
#endif
}

/// An array of floats on the GPU.
class DeviceFloats {
 public:
  explicit DeviceFloats(const std::vector<float>& values) : count_(values.size()) {
    if (cudaMalloc(reinterpret_cast<void**>(&data_), std::max<std::size_t>(1, count_) * sizeof(float)) != cudaSuccess)
      throw CommError("out-of-memory", "cudaMalloc failed");
    cudaMemcpy(data_, values.data(), count_ * sizeof(float), cudaMemcpyHostToDevice);
  }
  ~DeviceFloats() { cudaFree(data_); }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;
  [[nodiscard]] std::span<float> span() const { return {data_, count_}; }
  [[nodiscard]] std::vector<float> host() const {
    std::vector<float> values(count_);
    cudaMemcpy(values.data(), data_, count_ * sizeof(float), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  float* data_ = nullptr;
  std::size_t count_;
};

std::vector<float> part_of(int rank, std::size_t count) {
  Rng rng(static_cast<std::uint64_t>(rank) * 7919 + count);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(rng.normal() * std::pow(10.0, 6 * rng.uniform() - 3));
  values[0] = -0.0F;
  return values;
}

bool same(const std::vector<float>& a, const float* b) { return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0; }

void check_sums(Communicator& gpus) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{1000}, std::size_t{1'050'001}}) {
    for (int contributors = 1; contributors <= gpus.size(); ++contributors) {
      std::vector<std::vector<float>> parts;
      for (int r = 0; r < contributors; ++r) parts.push_back(part_of(r, count));
      const std::vector<float> sum = test::recursive_sum(parts);
      const DeviceFloats values(part_of(gpus.rank(), count));
      const Bounds bounds = chunks_of_blocks(count, gpus.size(), 100);
      const auto own = static_cast<std::size_t>(gpus.rank());
      const DeviceFloats chunk(std::vector<float>(bounds[own + 1] - bounds[own]));
      Pending scattered = gpus.start_reduce_scatter(values.span(), bounds, contributors, chunk.span());
      Pending summed = gpus.start_tree_sum(values.span(), contributors);
      scattered.wait(), summed.wait();
      const std::string what = fmt::format("of {} floats from {} of {} ranks", count, contributors, gpus.size());
      expect(same(chunk.host(), sum.data() + bounds[own]), "the chunk " + what);
      expect(same(values.host(), sum.data()), "the sum " + what);

      std::vector<float> scattered_parts(count, -1.0F);
      std::ranges::copy(chunk.host(), scattered_parts.begin() + static_cast<std::ptrdiff_t>(bounds[own]));
      const DeviceFloats gathered(scattered_parts);
      gpus.start_all_gather(gathered.span(), bounds).wait();
      expect(same(gathered.host(), sum.data()), "the chunks gathered " + what);
    }
  }
}

/// The sums of the host's tree over MPI and of the GPUs' have the same bits.
void check_same_as_host(Communicator& host, Communicator& gpus) {
  std::vector<float> values = part_of(host.rank(), 5000);
  const DeviceFloats on_gpu(values);
  host.tree_sum(values, host.size());
  gpus.tree_sum(on_gpu.span(), gpus.size());
  expect(same(on_gpu.host(), values.data()), "GPUs and hosts sum to the same bits");
}

/// With bfloat16 sums and chunks have the bits of those over MPI and send as many bytes. Chunks that are gathered are not
/// rounded.
void check_bfloat16(Communicator& host, Communicator& gpus, std::size_t count, int contributors) {
  const auto bytes_of = [](Communicator& group, const auto& work) {
    const std::uint64_t before = group.traffic().bytes;
    work();
    return group.traffic().bytes - before;
  };
  const Bounds bounds = chunks_of_blocks(count, gpus.size(), 100);
  const auto own = static_cast<std::size_t>(gpus.rank());
  const std::string what = fmt::format("in bfloat16 of {} floats from {} of {} ranks", count, contributors, gpus.size());
  std::vector<float> sum = part_of(gpus.rank(), count), chunk(bounds[own + 1] - bounds[own]), all(count, -1.0F);
  const DeviceFloats values(sum), chunk_on_gpu(chunk);
  const std::span<float> summand = gpus.rank() < contributors ? values.span() : std::span<float>();
  const std::uint64_t sent_by_host = bytes_of(host, [&] {
    host.start_reduce_scatter(sum, bounds, contributors, chunk).wait();
    host.tree_sum(sum, contributors);
  });
  const std::uint64_t sent = bytes_of(gpus, [&] {
    Pending scattered = gpus.start_reduce_scatter(summand, bounds, contributors, chunk_on_gpu.span());
    Pending summed = gpus.start_tree_sum(values.span(), contributors);
    scattered.wait(), summed.wait();
  });
  expect(same(chunk_on_gpu.host(), chunk.data()), "the chunk " + what);
  expect(same(values.host(), sum.data()), "the sum " + what);
  expect(sent == sent_by_host, fmt::format("GPUs send {} bytes, hosts {}, {}", sent, sent_by_host, what));

  std::ranges::copy(chunk, all.begin() + static_cast<std::ptrdiff_t>(bounds[own]));
  const DeviceFloats all_on_gpu(all);
  host.start_all_gather(all, bounds).wait();
  gpus.start_all_gather(all_on_gpu.span(), bounds).wait();
  expect(same(all_on_gpu.host(), all.data()), "the chunks gathered " + what);
}
void check_bfloat16(Communicator& host, Communicator& gpus) {
  host.use_wire(Wire::bfloat16), gpus.use_wire(Wire::bfloat16);
  for (const std::size_t count : {std::size_t{1}, std::size_t{150}, std::size_t{1000}, std::size_t{1'050'001}}) {
    for (int contributors = 1; contributors <= gpus.size(); ++contributors) check_bfloat16(host, gpus, count, contributors);
  }
  host.use_wire(Wire::float32), gpus.use_wire(Wire::float32);
}

/// A sum takes what the caller's stream has written by then, whichever stream that is.
void check_stream(Communicator& host, int device) {
  static cudaStream_t stream = nullptr;
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess)
    throw CommError("out-of-memory", "cudaStreamCreateWithFlags failed");
  {
    DeviceOps ops = ops_of(device);
    ops.current_stream = [] { return static_cast<void*>(stream); };
    const auto gpus = make_nccl_communicator(host, device, ops);
    constexpr std::size_t kCount = 1000, kLarge = 4'000'000;
    const DeviceFloats written(part_of(gpus->rank(), kCount)), values(std::vector<float>(kCount, 0.0F)),
        large(std::vector<float>(2 * kLarge, 1.0F));
    const auto copy = [](const float* from, float* to, std::size_t count) {
      cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToDevice, stream);
    };
    for (int i = 0; i < 20; ++i) copy(large.span().data(), large.span().data() + kLarge, kLarge);  // keeps the stream busy
    copy(written.span().data(), values.span().data(), kCount);
    gpus->tree_sum(values.span(), gpus->size());
    if (gpus->size() > 1) {  // alone there is no sum, and so nothing that waits
      std::vector<std::vector<float>> parts;
      for (int r = 0; r < gpus->size(); ++r) parts.push_back(part_of(r, kCount));
      const std::vector<float> sum = test::recursive_sum(parts);
      expect(same(values.host(), sum.data()), "a sum waits for the stream of the caller");
    }
  }
  cudaStreamDestroy(stream);
}

#ifdef DMOERM_FAKE_NCCL
/// The code of the CommError that `work` throws.
template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const CommError& e) {
    return e.code().text();
  }
  return "none";
}

/// If the first rank cannot begin, all ranks say so at once; and a call that fails leaves no group of calls open.
void check_failing_calls(Communicator& host, int device) {
  if (host.rank() == 0) test::fail_next("ncclGetUniqueId");
  expect(error_of([&] { make_nccl_communicator(host, device); }) == "nccl-call-failed", "all ranks hear that NCCL cannot begin");
  host.barrier();
  if (host.size() == 1) return;
  for (const auto& [wire, function] : {std::pair(Wire::float32, "ncclReduce"), std::pair(Wire::bfloat16, "ncclSend")}) {
    const auto gpus = make_nccl_communicator(host, device, ops_of(device));
    gpus->use_wire(wire);
    test::fail_next(function);
    const DeviceFloats values(part_of(gpus->rank(), 1000));
    expect(error_of([&] { gpus->tree_sum(values.span(), gpus->size()); }) == "nccl-call-failed", "a call of NCCL fails");
    expect(test::aborts_in_groups() == 0, "no communicator is aborted inside an open group");
    host.barrier();
  }
}
#endif

/// Without a GPU of its own for each rank there is no such group.
void check_refusals(Communicator& host) {
  const bool alone = host.size() == 1;
  expect(alone || make_nccl_communicator(host, 0) == nullptr, "ranks that share a GPU use the hosts");
  expect(make_nccl_communicator(host, host.rank() + 1 == host.size() ? -1 : host.rank()) == nullptr,
         "a group with a rank without a GPU uses the hosts");
}

/// The code of the error with which a sum ends that the last rank never joins; "" on that rank.
template <class Meanwhile>
std::string error_without_last_rank(Communicator& gpus, Wire wire, const Meanwhile& meanwhile) {
  if (gpus.rank() + 1 == gpus.size()) return "";
  gpus.use_wire(wire);
  const DeviceFloats values(part_of(gpus.rank(), 1000));
  std::string code = "none";
  try {
    Pending pending = gpus.start_tree_sum(values.span(), gpus.size());
    meanwhile();
    pending.wait();
  } catch (const CommError& e) {
    code = e.code().text();
  }
  try {
    gpus.tree_sum(values.span(), gpus.size());
    expect(false, "a group that has failed sums again");
  } catch (const CommError& e) {
    expect(std::string_view(e.code().text()) == "earlier-collective-failed", "a group that has failed says so");
  }
  return code;
}

/// Such a sum ends with an expected code, on all ranks but the last. With float32 the last but one waits for that one, with
/// bfloat16 all do, and those that are not the first to give up may hear of it from NCCL.
void expect_code(Communicator& host, Wire wire, const std::string& code, const std::string& expected) {
  const bool takes_part = host.rank() + 1 < host.size(), may_hear = wire == Wire::bfloat16 || host.rank() + 2 < host.size();
  const bool good = code == expected || (may_hear && code == "nccl-call-failed");
  expect(!takes_part || good, fmt::format("a sum without its last rank ends with {}, not {}", code, expected));
  expect(largest_of(host, code == expected ? 1 : 0) == 1,
         fmt::format("a sum without its last rank ends nowhere with {}", expected));
}

/// One rank never joins a collective: the others report it within the time limit.
void check_limit(Communicator& host, int device, Wire wire) {
  const auto gpus = make_nccl_communicator(host, device, ops_of(device));
  const std::string code = error_without_last_rank(*gpus, wire, [&] { gpus->limit_waits(1); });
  gpus->limit_waits(600);
  expect_code(host, wire, code, "wait-too-long");
}

/// One rank leaves, as if it had died: the others learn it from NCCL, without waiting for the limit.
void check_rank_leaves(Communicator& host, int device, Wire wire) {
  auto gpus = make_nccl_communicator(host, device, ops_of(device));
  if (host.rank() + 1 == host.size()) gpus.reset();
  host.barrier();
  const std::string code = gpus ? error_without_last_rank(*gpus, wire, [] {}) : "";
  expect_code(host, wire, code, "nccl-call-failed");
}

/// A rank outside of the group has failed: whoever waits gives up.
void check_given_up(Communicator& host, int device, Wire wire) {
  static std::atomic<bool> given_up = false;
  const auto gpus = make_nccl_communicator(host, device, ops_of(device));
  gpus->break_when(given_up);
  const std::string code = error_without_last_rank(*gpus, wire, [] { given_up = true; });
  given_up = false;
  expect_code(host, wire, code, "rank-failed");
}

}  // namespace

int main() {
  const auto world = init_world();
  Communicator& host = world->all();
  const int device = world->rank();
  {
    const auto gpus = make_nccl_communicator(host, device, ops_of(device));
    if (!gpus) return 77;
    cudaSetDevice(device);
    check_sums(*gpus);
    check_same_as_host(host, *gpus);
    check_bfloat16(host, *gpus);
  }
  check_stream(host, device);
#ifdef DMOERM_FAKE_NCCL
  check_failing_calls(host, device);
#endif
  check_refusals(host);
  for (const Wire wire : {Wire::float32, Wire::bfloat16}) {
    if (host.size() == 1) break;  // alone nobody waits for another
    check_limit(host, device, wire);
    check_rank_leaves(host, device, wire);
    check_given_up(host, device, wire);
  }
  if (world->rank() == 0) fmt::print("{} GPUs, {} failures\n", world->size(), failures);
  return failures == 0 ? 0 : 1;
}
