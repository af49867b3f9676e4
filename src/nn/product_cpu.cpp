#include "nn/product_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "nn/lanes.h"
#include "nn/simd_math.h"
#include "nn/transpose.h"

namespace dmoerm::nn::cpu {
namespace {

constexpr std::int64_t kRows = 6;                               // of a tile, which is summed in registers
constexpr std::int64_t kSlice = kLanesSummed / kRows * kLanes;  // columns of a tile
constexpr std::int64_t kStrip = 4 * kLanes;                     // columns that a task multiplies, slice by slice
constexpr std::int64_t kInner = 384;                            // so many rows of a copied strip are summed in registers
constexpr std::int64_t kDepth = 2 * kInner;                     // a strip of so many rows stays in a core's own cache
constexpr std::int64_t kRowsAhead = 16;                         // how far ahead of itself pack() asks for rows of b
constexpr std::int64_t kSwigluRowsAhead = 8;                    // the same for rows of gates
constexpr std::int64_t kPackRows = 16;                          // rows that take as long as packing their strip of b
constexpr std::int64_t kAlone = std::int64_t{1} << 18;          // multiplications that are not worth a second thread

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
  const float* addend;  ///< What is added to the product; null: nothing
  std::int64_t addend_row;
};

/// What a tile multiplies: some of the inner index of a, and a slice of b of kSlice columns or fewer, whose rows lie close
/// together.
struct Block {
  const Product& of;
  std::int64_t first, inner, column;
  const float* slice;
  std::int64_t slice_row;
  std::int64_t summed;  ///< So many of the inner index are summed in registers before they go to memory
};

/// Ask for a tile's numbers of the result, which it needs late.
template <int Rows, int Vectors>
void prefetch_result(const float* c, std::int64_t c_row) {
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) __builtin_prefetch(c + r * c_row + v * kLanes, 1);
  }
}

/// A part of the inner index of a tile: its first numbers of a, the slice, the result and what is added, which may be null.
struct TilePart {
  const float *a, *b, *past;
  float* c;
  std::int64_t inner, b_row, past_row;
};

/// Sum a part of a tile in registers. Meanwhile ask for the rows of a that the next tile needs, which may come from far. Inlined,
/// it would share registers with the loop around it, and have too few.
template <int Rows, int Vectors>
[[gnu::noinline]] void sum_part(const Product& p, const TilePart& part) {
  const float *a = part.a, *b = part.b;
  const std::int64_t a_row = p.a_row, a_inner = p.a_inner, b_row = part.b_row;
  Lanes sums[Rows][Vectors];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[r][v] = Lanes::zero();
  }
  const auto add_products = [&] {
    Lanes right[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) right[v] = Lanes::load(b + v * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const Lanes left = Lanes::all(a[r * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] = multiply_add(left, right[v], sums[r][v]);
    }
    a += a_inner, b += b_row;
  };
  std::int64_t left = part.inner;
  for (; left >= kLanes; left -= kLanes) {
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) __builtin_prefetch(a + (Rows + r) * a_row);
    for (std::int64_t i = 0; i < kLanes; ++i) add_products();
  }
  for (; left > 0; --left) add_products();
  const Lanes scale = Lanes::all(p.scale);
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const Lanes past = part.past != nullptr ? Lanes::load(part.past + r * part.past_row + v * kLanes) : Lanes::zero();
      multiply_add(scale, sums[r][v], past).store(part.c + r * p.c_row + v * kLanes);
    }
  }
}

/// `Rows` rows, from `row` on, and `Vectors` times kLanes columns of the result of the slice.
template <int Rows, int Vectors>
void tile(const Block& block, std::int64_t row) {
  const Product& p = block.of;
  float* c = p.c + row * p.c_row + block.column;
  const float* a = p.a + row * p.a_row + block.first * p.a_inner;
  const float* addend = p.addend == nullptr ? nullptr : p.addend + row * p.addend_row + block.column;
  prefetch_result<Rows, Vectors>(c, p.c_row);
  std::int64_t done = 0;
  do {
    const std::int64_t inner = std::min(block.summed, block.inner - done);
    const bool first = block.first + done == 0;
    sum_part<Rows, Vectors>(p, {a + done * p.a_inner, block.slice + done * block.slice_row, first ? addend : c, c, inner,
                                block.slice_row, first ? p.addend_row : p.c_row});
    done += inner;
  } while (done < block.inner);
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

/// A tile of `columns` columns, at most kSlice.
void tile_of(const Block& block, std::int64_t row, std::int64_t rows, std::int64_t columns) {
  if constexpr (kSlice > kLanes) {
    switch (columns / kLanes) {
      case 4:
        return tile_of<4>(block, row, rows);
      case 3:
        return tile_of<3>(block, row, rows);
      case 2:
        return tile_of<2>(block, row, rows);
      default:
        break;
    }
  }
  tile_of<1>(block, row, rows);
}

/// A thread's own memory for a strip of b.
float* strip_memory() {
  struct Free {
    void operator()(float* floats) const { ::operator delete[](floats, std::align_val_t{64}); }
  };
  thread_local const std::unique_ptr<float, Free> memory(
      static_cast<float*>(::operator new[](kDepth* kStrip * sizeof(float), std::align_val_t{64})));
  return memory.get();
}

/// Copy rows [first, first + inner) of `width` columns into `to`, row by row.
void pack(const Product& p, std::int64_t first, std::int64_t inner, std::int64_t column, std::int64_t width, float* to) {
  const float* from = p.b + first * p.b_inner + column * p.b_column;
  if (p.b_column != 1) return copy_transposed(from, p.b_column, width, inner, to, width);
  for (std::int64_t k = 0; k < inner; ++k, from += p.b_inner, to += width) {
    for (std::int64_t j = 0; j < width; j += kLanes) {
      __builtin_prefetch(from + kRowsAhead * p.b_inner + j);
      Lanes::load(from + j).store(to + j);
    }
  }
}

/// The part of the result with rows [begin, end) and the columns of one strip.
void multiply_strip(const Product& p, std::int64_t begin, std::int64_t end, std::int64_t column) {
  const std::int64_t width = std::min(kStrip, p.n - column);
  const bool packed = p.b_column != 1 || p.b_inner > 2 * kStrip;
  const std::int64_t most = packed ? kDepth : p.inner;
  for (std::int64_t first = 0; first < p.inner || first == 0; first += most) {
    const std::int64_t inner = std::min(most, p.inner - first);
    const auto columns_at = [&](std::int64_t slice) { return std::min(kSlice, width - slice); };
    for (std::int64_t slice = 0; packed && slice < width; slice += kSlice)
      pack(p, first, inner, column + slice, columns_at(slice), strip_memory() + slice * inner);
    for (std::int64_t row = begin; row < end; row += kRows) {
      for (std::int64_t slice = 0; slice < width; slice += kSlice) {
        const Block block{p,
                          first,
                          inner,
                          column + slice,
                          packed ? strip_memory() + slice * inner : p.b + first * p.b_inner + column + slice,
                          packed ? columns_at(slice) : p.b_inner,
                          packed ? kInner : p.inner};
        tile_of(block, row, std::min(kRows, end - row), columns_at(slice));
      }
    }
    if (most == 0) break;
  }
}

/// Rows of each of `parts` parts but the last, whole tiles.
std::int64_t part_rows(std::int64_t m, std::int64_t parts) { return ((m + parts - 1) / parts + kRows - 1) / kRows * kRows; }

/// How many parts to divide the rows into. A task is a part of a strip, and whoever is free takes the next: three tasks a thread,
/// and more if less is then left to the thread that has most.
std::int64_t parts_of(std::int64_t m, std::int64_t strips, std::int64_t threads) {
  const std::int64_t most = std::max<std::int64_t>(1, m / (8 * kRows));
  const std::int64_t wanted = (3 * threads + strips - 1) / std::max<std::int64_t>(1, strips);
  const auto longest = [&](std::int64_t parts) {
    return (strips * parts + threads - 1) / threads * (part_rows(m, parts) + kPackRows);
  };
  std::int64_t best = std::clamp<std::int64_t>(wanted, 1, most);
  for (std::int64_t parts = best + 1; parts < std::min(most + 1, wanted + threads); ++parts) {
    if (longest(parts) < longest(best)) best = parts;
  }
  return best;
}

/// c = scale a b.
Product product_of(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, float scale) {
  return {a.const_data_ptr<float>(),
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
          nullptr,
          0};
}

/// Call `of_part(begin, end, column)` for parts of the rows and the first column of each of `strips` strips; threads take them in
/// turn.
template <class Work>
void for_each_part(const Product& p, std::int64_t strips, const Work& of_part) {
  const std::int64_t threads = at::get_num_threads();
  const std::int64_t parts = parts_of(p.m, strips, threads), rows = part_rows(p.m, parts), tasks = strips * parts;
  std::atomic<std::int64_t> next = 0;
  const auto work = [&](std::int64_t, std::int64_t) {
    for (std::int64_t task = next++; task < tasks; task = next++) {
      const std::int64_t begin = task % parts * rows, end = std::min(p.m, begin + rows);
      if (begin < end) of_part(begin, end, task / parts * kStrip);
    }
  };
  if (p.m * p.n * p.inner < kAlone) return work(0, 1);
  at::parallel_for(0, std::min(threads, tasks), 1, work);
}

void multiply(const Product& p) {
  for_each_part(p, (p.n + kStrip - 1) / kStrip,
                [&](std::int64_t begin, std::int64_t end, std::int64_t column) { multiply_strip(p, begin, end, column); });
}

/// Add `addend`, [m, n] or [n], to what a product computes. @return what has to live as long as the product
at::Tensor add_to(Product& p, const at::Tensor& addend) {
  const at::Tensor rows = addend.contiguous().expand({p.m, p.n});
  p.addend = rows.const_data_ptr<float>(), p.addend_row = rows.stride(0);
  return rows;
}

}  // namespace

bool takes_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b) {
#if !defined(__FP_FAST_FMAF)
  return false;  // a multiply-add would be a call of a function
#endif
  const auto fits = [](const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; };
  const bool adjacent = b.stride(0) == 1 || b.stride(1) == 1 || b.size(0) == 1;
  return fits(a) && fits(b) && fits(c) && adjacent && c.stride(1) == 1 && c.size(1) % kLanes == 0;
}

bool multiplies_itself() {
#if defined(__AVX512F__) || defined(__FMA__)
  static const bool amd = __builtin_cpu_is("amd") != 0;
  return amd;
#else
  return false;
#endif
}

void product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, float scale, bool add) {
  Product p = product_of(c, a, b, scale);
  if (add) p.addend = p.c, p.addend_row = p.c_row;
  multiply(p);
}

void product_and_sum(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, const at::Tensor& addend) {
  Product p = product_of(c, a, b, 1);
  const at::Tensor kept = add_to(p, addend);
  multiply(p);
}

bool takes_swiglu(std::int64_t intermediate) { return intermediate % kStrip == 0; }

void product_and_swiglu(const at::Tensor& gate_up_T2F, const at::Tensor& act_TF, const at::Tensor& x_TD, const at::Tensor& w,
                        const at::Tensor& bias) {
  Product p = product_of(gate_up_T2F, x_TD, w, 1);
  const at::Tensor kept = bias.defined() ? add_to(p, bias) : bias;
  const std::int64_t f = act_TF.size(1);
  float* act = act_TF.data_ptr<float>();
  for_each_part(p, f / kStrip, [&](std::int64_t begin, std::int64_t end, std::int64_t column) {
    multiply_strip(p, begin, end, column);
    multiply_strip(p, begin, end, f + column);
    for (std::int64_t t = begin; t < end; ++t) {
      const float* gate = p.c + t * p.c_row + column;
      swiglu_numbers(gate, gate + f, kStrip, act + t * f + column);
    }
  });
}

void product_and_swiglu_backward(const at::Tensor& dgate_up_T2F, const at::Tensor& dy_TD, const at::Tensor& w,
                                 const at::Tensor& gate_up_T2F) {
  const std::int64_t f = w.size(1);
  const Product p = product_of(dgate_up_T2F.narrow(1, 0, f), dy_TD, w, 1);  // the gradient in act lies where that in gate will
  const float* gate_up = gate_up_T2F.const_data_ptr<float>();
  for_each_part(p, f / kStrip, [&](std::int64_t begin, std::int64_t end, std::int64_t column) {
    multiply_strip(p, begin, end, column);
    for (std::int64_t t = begin; t < end; ++t) {
      const float* gate = gate_up + t * 2 * f + column;
      float* dgate = p.c + t * p.c_row + column;
      for (std::int64_t i = 0; i < kStrip; i += kLanes) {
        __builtin_prefetch(gate + kSwigluRowsAhead * 2 * f + i);
        __builtin_prefetch(gate + kSwigluRowsAhead * 2 * f + f + i);
        __builtin_prefetch(dgate + kSwigluRowsAhead * p.c_row + f + i, 1);
      }
      swiglu_gradients(dgate, gate, gate + f, kStrip, dgate, dgate + f);
    }
  });
}

}  // namespace dmoerm::nn::cpu
