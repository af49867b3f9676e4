// What the kernels share. One source runs in two ways: nvcc makes CUDA kernels of it; for any other compiler emulator.h runs each
// block on the CPU, so that tests and sanitizers see every access without a GPU.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

namespace dmoerm::kernels {

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, Stream stream, A&&... arguments) {
  if (grid.x == 0) return;
  kernel<<<grid, block, 0, stream>>>(static_cast<P>(arguments)...);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess)
    throw std::runtime_error(std::string("a CUDA kernel, or one before it, failed: ") + cudaGetErrorString(code));
}

/// Two floats rounded to bfloat16, the first in the lower half.
__device__ inline std::uint32_t round_pair(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

}  // namespace dmoerm::kernels
#else
#include "kernels/emulator.h"
#endif

namespace dmoerm::kernels {

/// Whether rows of this width move in vectors of 8 elements.
inline bool in_vectors(std::int64_t width, std::initializer_list<const void*> pointers) {
  std::uintptr_t bits = static_cast<std::uintptr_t>(width % 8);
  for (const void* p : pointers) bits |= reinterpret_cast<std::uintptr_t>(p) % 16;
  return bits == 0;
}

/// N adjacent elements as they lie in memory, moved in one access. N is 8 or 1.
template <int N>
struct Pack;
template <>
struct Pack<8> {
  uint4 raw;
};
template <>
struct Pack<1> {
  Bfloat16 raw;
};

template <int N>
__device__ Pack<N> read(const Bfloat16* p) {
  return {*reinterpret_cast<const decltype(Pack<N>::raw)*>(p)};
}
template <int N>
__device__ void write(Bfloat16* p, const Pack<N>& pack) {
  *reinterpret_cast<decltype(Pack<N>::raw)*>(p) = pack.raw;
}

__device__ inline float low_half(std::uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float high_half(std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000U); }

__device__ inline void unpack(float (&x)[8], const Pack<8>& pack) {
  const std::uint32_t pairs[4] = {pack.raw.x, pack.raw.y, pack.raw.z, pack.raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) x[2 * i] = low_half(pairs[i]), x[2 * i + 1] = high_half(pairs[i]);
}
__device__ inline void unpack(float (&x)[1], const Pack<1>& pack) { x[0] = low_half(pack.raw.bits); }

__device__ inline Pack<8> pack(const float (&x)[8]) {
  return {{round_pair(x[0], x[1]), round_pair(x[2], x[3]), round_pair(x[4], x[5]), round_pair(x[6], x[7])}};
}
__device__ inline Pack<1> pack(const float (&x)[1]) { return {{static_cast<std::uint16_t>(round_pair(x[0], 0))}}; }

template <int N>
__device__ void load(float (&x)[N], const Bfloat16* p) {
  unpack(x, read<N>(p));
}
template <int N>
__device__ void store(Bfloat16* p, const float (&x)[N]) {
  write<N>(p, pack(x));
}
/// N adjacent floats.
__device__ inline void load(float (&x)[8], const float* p) {
  const float4 a = reinterpret_cast<const float4*>(p)[0], b = reinterpret_cast<const float4*>(p)[1];
  x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}
__device__ inline void load(float (&x)[1], const float* p) { x[0] = *p; }

}  // namespace dmoerm::kernels
