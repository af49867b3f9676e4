// Compares sums and chunks over NCCL with a serial computation, bit for bit. Run it under mpirun on a machine with a GPU for each
// rank. Exit code 0 means that all checks passed, 77 that there are not enough GPUs.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/rng.h"
#include "comm/init_world.h"
#include "comm/nccl_communicator.h"
#include "comm/tree_sum.h"
#include "support/expect.h"
#include "support/recursive_sum.h"

namespace {

using namespace dmoerm;
using namespace dmoerm::comm;

using test::expect;
using test::failures;

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
  for (const std::size_t count : {std::size_t{1}, std::size_t{1000}, std::size_t{4'200'001}}) {
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

/// Lets one rank never join a collective: the others must report it within the time limit.
void check_limit(Communicator& gpus) {
  gpus.limit_waits(2);
  if (gpus.size() == 1 || gpus.rank() + 1 == gpus.size()) return;
  const DeviceFloats values({1.0F});
  try {
    gpus.tree_sum(values.span(), gpus.size());
    expect(false, "a sum without one of its ranks ends");
  } catch (const CommError& e) {
    fmt::print("timed out as it should: {}\n", e.what());
  }
}

}  // namespace

int main() {
  const auto world = init_world();
  const auto gpus = make_nccl_communicator(world->all(), world->rank());
  if (!gpus) return 77;
  cudaSetDevice(world->rank());
  check_sums(*gpus);
  world->all().barrier();
  check_limit(*gpus);
  world->all().barrier();
  if (world->rank() == 0) fmt::print("{} GPUs, {} failures\n", world->size(), failures);
  return failures == 0 ? 0 : 1;
}
