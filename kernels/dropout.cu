#include "kernels/device.h"

// Dropout by a hash of the row's key and the element's place, the one of the loop for the CPU: nothing is drawn, stored or sent
// from the host. Bytes of memory a row, for a width D: it reads 2 D (4 D where it adds) and writes 2 D. One thread takes 8
// columns.
namespace dmoerm::kernels {
namespace {

constexpr int kThreads = 128;
constexpr std::uint32_t kGolden = 0x9e3779b9U, kMix1 = 0x85ebca6bU, kMix2 = 0xc2b2ae35U;

/// splitmix64, its lower half.
__device__ std::uint32_t row_key(std::uint64_t key, std::int64_t row) {
  std::uint64_t x = key + static_cast<std::uint64_t>(row) + 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<std::uint32_t>(x ^ (x >> 31));
}

/// murmur3's finaliser of one element.
__device__ std::uint32_t hash_of(std::uint32_t row, std::uint32_t column) {
  std::uint32_t h = row + column * kGolden;
  h = (h ^ (h >> 16)) * kMix1;
  h = (h ^ (h >> 13)) * kMix2;
  return h ^ (h >> 16);
}

template <int N>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(Bfloat16* y, const Bfloat16* x, Dropping dropping, bool add, int width) {
  const int column = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) * N;
  if (column >= width) return;
  const std::int64_t row = blockIdx.x, at = row * width + column;
  const std::uint32_t key = row_key(dropping.key, dropping.first_row + row);
  float v[N], out[N] = {};
  load(v, x + at);
  if (add) load(out, y + at);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (hash_of(key, static_cast<std::uint32_t>(column + i)) >= dropping.threshold) out[i] += v[i] * dropping.keep;
  }
  store(y + at, out);
}

}  // namespace

void dropout(Bfloat16* y, const Bfloat16* x, const Dropping& dropping, bool add, std::int64_t rows, int width, Stream stream) {
  const bool fast = in_vectors(width, {y, x});
  const int columns = kThreads * (fast ? 8 : 1);
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>((width + columns - 1) / columns));
  launch(fast ? dropout_kernel<8> : dropout_kernel<1>, grid, kThreads, stream, y, x, dropping, add, width);
}

}  // namespace dmoerm::kernels
