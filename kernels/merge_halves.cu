#include "kernels/device.h"

// Two results of attention become one by their log-sum-exps. Bytes of memory a query: 6 for each column, 12 for each head. One
// block takes a query, one thread 8 columns of a head.
namespace dmoerm::kernels {
namespace {

constexpr int kThreads = 128;

struct Share {
  float a, b, lse;
};

/// How much each half counts. A half without keys has the log-sum-exp plus infinity and counts nothing.
__device__ Share share_of(float lse_a, float lse_b) {
  if (lse_b == INFINITY) return {1.0F, 0.0F, lse_a};
  if (lse_a == INFINITY) return {0.0F, 1.0F, lse_b};
  const float most = fmaxf(lse_a, lse_b), a = expf(lse_a - most), b = expf(lse_b - most), sum = a + b;
  return {a / sum, b / sum, most + logf(sum)};
}

template <int N>
__global__ void __launch_bounds__(kThreads)
    merge_kernel(Bfloat16* out, float* lse, Half a, Half b, std::int64_t queries, int heads, int head_dim) {
  const std::int64_t query = blockIdx.x, row = query * heads * head_dim;
  for (int i = static_cast<int>(threadIdx.x) * N; i < heads * head_dim; i += kThreads * N) {
    const std::int64_t at = i / head_dim * queries + query;
    const Share share = share_of(a.lse[at], b.lse[at]);
    float x[N], y[N];
    load(x, a.out + row + i), load(y, b.out + row + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {  // what a half without keys holds is not looked at
      x[j] = (share.a == 0 ? 0 : share.a * x[j]) + (share.b == 0 ? 0 : share.b * y[j]);
    }
    store(out + row + i, x);
    if (i % head_dim == 0) lse[at] = share.lse;
  }
}

}  // namespace

void merge_halves(Bfloat16* out, float* lse, const Half& a, const Half& b, std::int64_t queries, int heads, int head_dim,
                  Stream stream) {
  const bool fast = in_vectors(head_dim, {out, a.out, b.out});
  launch(fast ? merge_kernel<8> : merge_kernel<1>, static_cast<unsigned>(queries), kThreads, stream, out, lse, a, b, queries,
         heads, head_dim);
}

}  // namespace dmoerm::kernels
