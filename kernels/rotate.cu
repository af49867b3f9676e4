#include "kernels/rotation.h"

// Rotary position embedding in place. Bytes of memory a row: 4 for each column (read and written once) and 4 head_dim for the
// angles. One block takes a row, one thread 8 columns of the first half of a head and the 8 that turn with them.
namespace dmoerm::kernels {
namespace {

constexpr int kThreads = 128;

template <int N>
__global__ void __launch_bounds__(kThreads) rotate_kernel(Heads x, Turns turns, float sign, int half) {
  const std::int64_t row = blockIdx.x;
  const int packs = half / N;
  for (int i = static_cast<int>(threadIdx.x); i < x.heads * packs; i += kThreads) {
    const int column = i % packs * N;
    Bfloat16* const p = x.data + row * x.stride + i / packs * 2 * half + column;
    Turned<N> t;
    load(t.a, p), load(t.b, p + half);
    turn(t, turns.cos + row * half + column, turns.sin + row * half + column, sign);
    store(p, t.a), store(p + half, t.b);
  }
}

}  // namespace

void rotate(const Heads& x, const Turns& turns, bool inverse, std::int64_t rows, int head_dim, Stream stream) {
  const int half = head_dim / 2;
  const bool fast = in_vectors(half, {x.data, turns.cos, turns.sin}) && x.stride % 8 == 0;
  launch(fast ? rotate_kernel<8> : rotate_kernel<1>, static_cast<unsigned>(rows), kThreads, stream, x, turns,
         inverse ? -1.0F : 1.0F, half);
}

}  // namespace dmoerm::kernels
