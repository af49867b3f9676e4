// What the emulator of CUDA finds: threads that do not wait for each other, and threads that wait for others that never come.
#include "kernels/on_device.h"

namespace {

using namespace dmoerm;
using namespace dmoerm::test;

/// Each thread reads what the next one wrote, with or without a barrier in between.
void neighbours(float* out, bool with_barrier) {
  __shared__ float values[64];
  const unsigned own = threadIdx.x, next = (own + 1) % blockDim.x;
  values[own] = static_cast<float>(blockIdx.x + own);
  if (with_barrier) __syncthreads();
  out[blockIdx.x * blockDim.x + own] = values[next];
  if (with_barrier) __syncthreads();
}

std::vector<float> neighbours_of(bool with_barrier, bool backwards) {
  const Array<float> out(std::size_t{128});
  kernels::Block::backwards() = backwards;
  kernels::launch(neighbours, 2, 64, nullptr, out.get(), with_barrier);
  kernels::Block::backwards() = false;
  return out.host();
}

void sum_of_warp(float* out) {
  float sum = static_cast<float>(threadIdx.x);
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, distance);
  out[threadIdx.x] = sum;
}

void half_of_the_threads_leave() {
  if (threadIdx.x < 32) __syncthreads();
}

template <class Work>
void expect_refused(const Work& work, const std::string& what) {
  try {
    work();
    expect(false, what);
  } catch (const std::logic_error&) {
  }
}

}  // namespace

int main() {
  return run([] {
    expect(neighbours_of(true, false) == neighbours_of(true, true), "with a barrier the order of threads does not matter");
    expect(neighbours_of(true, false)[0] == 1, "each thread reads its neighbour's value");
    expect(neighbours_of(false, false) != neighbours_of(false, true), "a barrier that is missing shows");
    const Array<float> sums(std::size_t{64});
    kernels::launch(sum_of_warp, 1, 64, nullptr, sums.get());
    expect(sums.host()[31] == 496 && sums.host()[32] == 1520, "shuffles stay in their warp");
    expect_refused([] { kernels::launch(half_of_the_threads_leave, 1, 64, nullptr); }, "a barrier that not all threads reach");
    expect_refused([&] { kernels::launch(sum_of_warp, 1, 48, nullptr, sums.get()); }, "a shuffle in a part of a warp");
  });
}
