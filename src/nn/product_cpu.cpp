#include "nn/product_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

namespace dmoerm::nn::cpu {
namespace {

constexpr std::int64_t kLanes = 16, kRows = 6, kStrip = 4 * kLanes;  // a tile of kRows and kStrip columns is summed in registers
constexpr std::int64_t kInner = 384;                                 // a strip of so many rows stays in a core's own cache
constexpr std::int64_t kAlone = std::int64_t{1} << 18;               // multiplications that are not worth a second thread

/// Sixteen floats, as the processor holds them.
#if defined(__AVX512F__)
struct Lanes {
  __m512 v;
  static Lanes zero() { return {_mm512_setzero_ps()}; }
  static Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Lanes all(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
};
Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
#elif defined(__FMA__)
struct Lanes {
  __m256 v, w;
  static Lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Lanes all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v), _mm256_storeu_ps(p + 8, w); }
};
Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v), _mm256_fmadd_ps(a.w, b.w, c.w)}; }
#else
struct Lanes {
  float v[kLanes];
  static Lanes zero() { return all(0); }
  static Lanes load(const float* p) {
    Lanes x;
    std::memcpy(x.v, p, sizeof x.v);
    return x;
  }
  static Lanes all(float a) {
    Lanes x;
    std::fill(x.v, x.v + kLanes, a);
    return x;
  }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
};
Lanes multiply_add(const Lanes& a, const Lanes& b, Lanes c) {
  for (std::int64_t i = 0; i < kLanes; ++i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}
#endif

/// Factors and result of one product, in memory.
struct Product {
  const float* a;
  std::int64_t a_row, a_inner;  ///< strides of a
  const float* b;
  std::int64_t b_inner, b_column;  ///< strides of b
  float* c;
  std::int64_t c_row;
  std::int64_t m, n, inner;
  float scale;
  bool add;
};

/// What a tile multiplies: some of the inner index of a, and a strip of b of kStrip columns or fewer, whose rows lie close
/// together.
struct Block {
  const Product& of;
  std::int64_t first, inner, column;
  const float* strip;
  std::int64_t strip_row;
  bool add;
};

/// `Rows` rows, from `row` on, and `Vectors` times kLanes columns of the result of the strip.
template <int Rows, int Vectors>
void tile(const Block& block, std::int64_t row) {
  const Product& p = block.of;
  Lanes sums[Rows][Vectors];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[r][v] = Lanes::zero();
  }
  const float *a = p.a + row * p.a_row + block.first * p.a_inner, *b = block.strip;
  for (std::int64_t k = 0; k < block.inner; ++k, a += p.a_inner, b += block.strip_row) {
    Lanes right[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) right[v] = Lanes::load(b + v * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const Lanes left = Lanes::all(a[r * p.a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] = multiply_add(left, right[v], sums[r][v]);
    }
  }
  const Lanes scale = Lanes::all(p.scale);
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      float* c = p.c + (row + r) * p.c_row + block.column + v * kLanes;
      multiply_add(scale, sums[r][v], block.add ? Lanes::load(c) : Lanes::zero()).store(c);
    }
  }
}

template <int Vectors>
void tile_of(const Block& block, std::int64_t row, std::int64_t rows) {
  switch (rows) {
    case 6:
      return tile<6, Vectors>(block, row);
    case 5:
      return tile<5, Vectors>(block, row);
    case 4:
      return tile<4, Vectors>(block, row);
    case 3:
      return tile<3, Vectors>(block, row);
    case 2:
      return tile<2, Vectors>(block, row);
    default:
      return tile<1, Vectors>(block, row);
  }
}

template <int Vectors>
void tiles_of(const Block& block, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; row += kRows) tile_of<Vectors>(block, row, std::min(kRows, end - row));
}

/// A thread's own memory for a strip of b.
float* strip_memory() {
  struct Free {
    void operator()(float* floats) const { ::operator delete[](floats, std::align_val_t{64}); }
  };
  thread_local const std::unique_ptr<float, Free> memory(
      static_cast<float*>(::operator new[](kInner* kStrip * sizeof(float), std::align_val_t{64})));
  return memory.get();
}

/// Copy rows [first, first + inner) of a strip of `width` columns into `strip`, row by row.
void pack(const Product& p, std::int64_t first, std::int64_t inner, std::int64_t column, std::int64_t width, float* strip) {
  if (p.b_column == 1) {
    for (std::int64_t k = 0; k < inner; ++k)
      std::memcpy(strip + k * width, p.b + (first + k) * p.b_inner + column, static_cast<std::size_t>(width) * sizeof(float));
    return;
  }
  for (std::int64_t k = 0; k < inner; k += kLanes) {  // square by square, so that both sides stay in the nearest cache
    const std::int64_t rows = std::min(kLanes, inner - k);
    for (std::int64_t j = 0; j < width; ++j) {
      const float* from = p.b + (column + j) * p.b_column + (first + k) * p.b_inner;
      float* to = strip + k * width + j;
      for (std::int64_t i = 0; i < rows; ++i) to[i * width] = from[i * p.b_inner];
    }
  }
}

/// The part of the result with rows [begin, end) and the columns of one strip.
void multiply_strip(const Product& p, std::int64_t begin, std::int64_t end, std::int64_t column) {
  const std::int64_t width = std::min(kStrip, p.n - column);
  const bool packed = p.b_column != 1 || p.b_inner > 2 * kStrip;
  const std::int64_t most = packed ? kInner : p.inner;
  for (std::int64_t first = 0; first < p.inner || first == 0; first += most) {
    const std::int64_t inner = std::min(most, p.inner - first);
    if (packed) pack(p, first, inner, column, width, strip_memory());
    const Block block{p,
                      first,
                      inner,
                      column,
                      packed ? strip_memory() : p.b + first * p.b_inner + column,
                      packed ? width : p.b_inner,
                      p.add || first > 0};
    switch (width / kLanes) {
      case 4:
        tiles_of<4>(block, begin, end);
        break;
      case 3:
        tiles_of<3>(block, begin, end);
        break;
      case 2:
        tiles_of<2>(block, begin, end);
        break;
      default:
        tiles_of<1>(block, begin, end);
        break;
    }
    if (most == 0) break;
  }
}

}  // namespace

bool takes_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b) {
#if !defined(__FP_FAST_FMAF)
  return false;  // a multiply-add would be a call of a function
#endif
  const auto fits = [](const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; };
  return fits(a) && fits(b) && fits(c) && c.stride(1) == 1 && c.size(1) % kLanes == 0;
}

bool multiplies_itself() {
#if defined(__AVX512F__)
  static const bool amd = __builtin_cpu_is("amd") != 0;
  return amd;
#else
  return false;
#endif
}

void product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, float scale, bool add) {
  const Product p{a.const_data_ptr<float>(),
                  a.stride(0),
                  a.stride(1),
                  b.const_data_ptr<float>(),
                  b.stride(0),
                  b.stride(1),
                  c.data_ptr<float>(),
                  c.stride(0),
                  c.size(0),
                  c.size(1),
                  a.size(1),
                  scale,
                  add};
  const std::int64_t strips = (p.n + kStrip - 1) / kStrip, threads = at::get_num_threads();
  // A task is a strip, or some rows of it if there are few strips. Whoever is free takes the next.
  const std::int64_t wanted = (3 * threads + strips - 1) / std::max<std::int64_t>(1, strips);
  const std::int64_t parts = std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, p.m / (8 * kRows)));
  const std::int64_t rows = ((p.m + parts - 1) / parts + kRows - 1) / kRows * kRows, tasks = strips * parts;
  std::atomic<std::int64_t> next = 0;
  const auto work = [&](std::int64_t, std::int64_t) {
    for (std::int64_t task = next++; task < tasks; task = next++) {
      const std::int64_t begin = task % parts * rows, end = std::min(p.m, begin + rows);
      if (begin < end) multiply_strip(p, begin, end, task / parts * kStrip);
    }
  };
  if (p.m * p.n * p.inner < kAlone) return work(0, 1);
  at::parallel_for(0, std::min(threads, tasks), 1, work);
}

}  // namespace dmoerm::nn::cpu
