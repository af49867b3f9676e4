#include "kernels/device.h"

// Residual sum and RMS norm of rows in one pass, and the backward. Bytes of memory a row, for a width D: forward reads 4 D and
// writes 4 D (2 D and 2 D without a sum), backward reads 4 D or 6 D and writes 2 D; the weight stays in the caches. One block
// takes a row and keeps it in registers between the sum and what is made with it.
namespace dmoerm::kernels {
namespace {

constexpr int kThreadsMax = 512, kWarp = 32;

/// How many packs of N elements a thread keeps; a block then takes rows of kNormWidthMax elements.
template <int N>
constexpr int kKept = kNormWidthMax / kThreadsMax / N;

/// Two packs for each thread, until the block is as large as it may be.
unsigned threads_for(int width, int n) {
  const int packs = (width + n - 1) / n, warps = (packs + 2 * kWarp - 1) / (2 * kWarp);
  return static_cast<unsigned>(warps * kWarp < kThreadsMax ? warps * kWarp : kThreadsMax);
}

void check_width(int width) {
  if (width > kNormWidthMax)
    throw std::runtime_error("a row of " + std::to_string(width) + " elements is too wide for the kernel, which takes " +
                             std::to_string(kNormWidthMax));
}

/// The sum over all threads of the block. A block calls it once.
__device__ float block_sum(float value) {
  __shared__ float of_warps[kThreadsMax / kWarp];
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffU, value, distance);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0;
  for (unsigned w = 0; w < blockDim.x / kWarp; ++w) sum += of_warps[w];
  return sum;
}

/// The first element of this thread's pack number c.
template <int N>
__device__ int place(int c) {
  return (c * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * N;
}

template <int N>
__global__ void __launch_bounds__(kThreadsMax) rms_norm_kernel(Bfloat16* y, Bfloat16* h, float* rstd, const Bfloat16* x,
                                                               const Bfloat16* r, const Bfloat16* w, int width, float eps) {
  const auto row = static_cast<std::int64_t>(blockIdx.x) * width;
  Pack<N> kept[kKept<N>];
  float sum = 0;
#pragma unroll
  for (int c = 0; c < kKept<N>; ++c) {
    const int i = place<N>(c);
    if (i >= width) break;
    kept[c] = read<N>(x + row + i);
    float v[N];
    unpack(v, kept[c]);
    if (r != nullptr) {
      float past[N];
      load(past, r + row + i);
#pragma unroll
      for (int j = 0; j < N; ++j) v[j] += past[j];
      kept[c] = pack(v);
      write<N>(h + row + i, kept[c]);
      unpack(v, kept[c]);  // as rounded: that is what later layers see
    }
#pragma unroll
    for (int j = 0; j < N; ++j) sum += v[j] * v[j];
  }
  const float scale = rsqrtf(block_sum(sum) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0 && rstd != nullptr) rstd[blockIdx.x] = scale;
#pragma unroll
  for (int c = 0; c < kKept<N>; ++c) {
    const int i = place<N>(c);
    if (i >= width) break;
    float v[N], weight[N];
    unpack(v, kept[c]), load(weight, w + i);
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] *= scale * weight[j];
    store(y + row + i, v);
  }
}

template <int N>
__global__ void __launch_bounds__(kThreadsMax)
    rms_norm_backward_kernel(Bfloat16* dh, const Bfloat16* dy, const Bfloat16* h, const Bfloat16* w, const float* rstd,
                             const Bfloat16* residual, int width) {
  const auto row = static_cast<std::int64_t>(blockIdx.x) * width;
  Pack<N> kept_dy[kKept<N>], kept_h[kKept<N>];
  float dot = 0;
#pragma unroll
  for (int c = 0; c < kKept<N>; ++c) {
    const int i = place<N>(c);
    if (i >= width) break;
    kept_dy[c] = read<N>(dy + row + i), kept_h[c] = read<N>(h + row + i);
    float slope[N], v[N], weight[N];
    unpack(slope, kept_dy[c]), unpack(v, kept_h[c]), load(weight, w + i);
#pragma unroll
    for (int j = 0; j < N; ++j) dot += slope[j] * weight[j] * v[j];
  }
  const float scale = rstd[blockIdx.x], shrink = block_sum(dot) / static_cast<float>(width) * scale * scale;
#pragma unroll
  for (int c = 0; c < kKept<N>; ++c) {
    const int i = place<N>(c);
    if (i >= width) break;
    float slope[N], v[N], weight[N], past[N] = {};
    unpack(slope, kept_dy[c]), unpack(v, kept_h[c]), load(weight, w + i);
    if (residual != nullptr) load(past, residual + row + i);
#pragma unroll
    for (int j = 0; j < N; ++j) past[j] += scale * (slope[j] * weight[j] - v[j] * shrink);
    store(dh + row + i, past);
  }
}

}  // namespace

void rms_norm(Bfloat16* y, Bfloat16* h, float* rstd, const Bfloat16* x, const Bfloat16* r, const Bfloat16* w, std::int64_t rows,
              int width, float eps, Stream stream) {
  check_width(width);
  const bool fast = in_vectors(width, {y, h, x, r, w});
  launch(fast ? rms_norm_kernel<8> : rms_norm_kernel<1>, static_cast<unsigned>(rows), threads_for(width, fast ? 8 : 1), stream, y,
         h, rstd, x, r, w, width, eps);
}

void rms_norm_backward(Bfloat16* dh, const Bfloat16* dy, const Bfloat16* h, const Bfloat16* w, const float* rstd,
                       const Bfloat16* residual, std::int64_t rows, int width, Stream stream) {
  check_width(width);
  const bool fast = in_vectors(width, {dh, dy, h, w, residual});
  launch(fast ? rms_norm_backward_kernel<8> : rms_norm_backward_kernel<1>, static_cast<unsigned>(rows),
         threads_for(width, fast ? 8 : 1), stream, dh, dy, h, w, rstd, residual, width);
}

}  // namespace dmoerm::kernels
