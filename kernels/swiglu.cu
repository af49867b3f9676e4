#include "kernels/device.h"

// SwiGLU, forward and backward. Bytes of memory a row, for a width F: forward reads 4 F and writes 2 F; backward reads 6 F and
// writes 4 F, and 2 F more if the activations are wanted again. One thread takes 8 columns.
namespace dmoerm::kernels {
namespace {

constexpr int kThreads = 128;

__device__ float sigmoid(float x) { return 1.0F / (1.0F + __expf(-x)); }

/// The first of the columns that this thread works on.
template <int N>
__device__ int own_column() {
  return static_cast<int>(blockIdx.y * kThreads + threadIdx.x) * N;
}

dim3 grid_of(std::int64_t rows, int width, int n) {
  const int columns = kThreads * n;
  return {static_cast<unsigned>(rows), static_cast<unsigned>((width + columns - 1) / columns)};
}

template <int N>
__global__ void __launch_bounds__(kThreads) swiglu_kernel(Bfloat16* act, const Bfloat16* gate_up, int width) {
  const int column = own_column<N>();
  if (column >= width) return;
  const auto row = static_cast<std::int64_t>(blockIdx.x) * width;
  float gate[N], up[N], out[N];
  load(gate, gate_up + 2 * row + column);
  load(up, gate_up + 2 * row + width + column);
#pragma unroll
  for (int i = 0; i < N; ++i) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
  store(act + row + column, out);
}

template <int N>
__global__ void __launch_bounds__(kThreads)
    swiglu_backward_kernel(Bfloat16* dgate_up, Bfloat16* act, const Bfloat16* dact, const Bfloat16* gate_up, int width) {
  const int column = own_column<N>();
  if (column >= width) return;
  const auto row = static_cast<std::int64_t>(blockIdx.x) * width;
  float gate[N], up[N], da[N], dgate[N], dup[N], out[N];
  load(gate, gate_up + 2 * row + column);
  load(up, gate_up + 2 * row + width + column);
  load(da, dact + row + column);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float s = sigmoid(gate[i]), silu = gate[i] * s;
    dgate[i] = da[i] * up[i] * s * (1.0F + gate[i] * (1.0F - s));
    dup[i] = da[i] * silu;
    out[i] = silu * up[i];
  }
  store(dgate_up + 2 * row + column, dgate);
  store(dgate_up + 2 * row + width + column, dup);
  if (act != nullptr) store(act + row + column, out);
}

}  // namespace

void swiglu(Bfloat16* act, const Bfloat16* gate_up, std::int64_t rows, int width, Stream stream) {
  const bool fast = in_vectors(width, {act, gate_up});
  launch(fast ? swiglu_kernel<8> : swiglu_kernel<1>, grid_of(rows, width, fast ? 8 : 1), kThreads, stream, act, gate_up, width);
}

void swiglu_backward(Bfloat16* dgate_up, Bfloat16* act, const Bfloat16* dact, const Bfloat16* gate_up, std::int64_t rows,
                     int width, Stream stream) {
  const bool fast = in_vectors(width, {dgate_up, act, dact, gate_up});
  launch(fast ? swiglu_backward_kernel<8> : swiglu_backward_kernel<1>, grid_of(rows, width, fast ? 8 : 1), kThreads, stream,
         dgate_up, act, dact, gate_up, width);
}

}  // namespace dmoerm::kernels
