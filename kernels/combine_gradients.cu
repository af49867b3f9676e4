#include "kernels/rotation.h"

// The gradients of queries, keys and values after the two calls of attention: summed, rotated back, and packed side by side for
// the products that follow. Bytes of memory a row: 6 for each column (4 without a prefix), and 4 head_dim for the angles. One
// launch for all three; one block takes a row of one of them, one thread 8 columns of the first half of a head and their
// partners.
namespace dmoerm::kernels {
namespace {

constexpr int kThreads = 128;

template <int N>
__device__ void add(float (&x)[N], const Bfloat16* p) {
  float y[N];
  load(y, p);
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] += y[i];
}

template <int N>
__device__ void combine_row(const HeadGradients& part, int half) {
  const std::int64_t row = blockIdx.x;
  if (row >= part.rows) return;
  const int packs = half / N;
  for (int i = static_cast<int>(threadIdx.x); i < part.sum.heads * packs; i += kThreads) {
    const int column = i % packs * N, place = i / packs * 2 * half + column;
    const std::int64_t from = row * part.sum.heads * 2 * half + place;
    Turned<N> t;
    load(t.a, part.own + from), load(t.b, part.own + from + half);
    if (part.prefix != nullptr) add(t.a, part.prefix + from), add(t.b, part.prefix + from + half);
    if (part.turns.cos != nullptr) turn(t, part.turns.cos + row * half + column, part.turns.sin + row * half + column, -1.0F);
    Bfloat16* const to = part.sum.data + row * part.sum.stride + place;
    store(to, t.a), store(to + half, t.b);
  }
}

template <int N>
__global__ void __launch_bounds__(kThreads) combine_kernel(const __grid_constant__ QkvGradients parts, int half) {
  if (blockIdx.y == 0) combine_row<N>(parts.q, half);
  if (blockIdx.y == 1) combine_row<N>(parts.k, half);
  if (blockIdx.y == 2) combine_row<N>(parts.v, half);
}

bool fits_vectors(const HeadGradients& part, int half) {
  return in_vectors(half, {part.sum.data, part.own, part.prefix, part.turns.cos, part.turns.sin}) && part.sum.stride % 8 == 0;
}

}  // namespace

void combine_gradients(const QkvGradients& parts, int head_dim, Stream stream) {
  const int half = head_dim / 2;
  std::int64_t rows = 0;
  bool fast = true;
  for (const HeadGradients* part : {&parts.q, &parts.k, &parts.v}) {
    rows = rows < part->rows ? part->rows : rows;
    fast = fast && fits_vectors(*part, half);
  }
  launch(fast ? combine_kernel<8> : combine_kernel<1>, dim3(static_cast<unsigned>(rows), 3), kThreads, stream, parts, half);
}

}  // namespace dmoerm::kernels
