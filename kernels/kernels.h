// Launchers of the kernels: passes over memory that libtorch would make in several. Pointers are addresses of a GPU, matrices are
// contiguous unless a stride says otherwise, and the work is queued in `stream`. Widths that are multiples of 8 at addresses that
// are multiples of 16 move in accesses of 16 bytes; others work too, slowly. All sums have a fixed order: the same input gives
// the same bits. Each throws std::runtime_error if CUDA refuses the launch.
#pragma once
#include <cstdint>

struct CUstream_st;

namespace dmoerm::kernels {

/// What CUDA calls cudaStream_t.
using Stream = CUstream_st*;

/// Whether nvcc compiled the kernels. Otherwise the launchers run them on the CPU, for tests.
bool for_gpu();

/// The upper half of a float32.
struct Bfloat16 {
  std::uint16_t bits;
};

/// act = silu(gate) * up. @param gate_up  [rows, 2 width]: the gate in the first half of the columns, up in the second
void swiglu(Bfloat16* act, const Bfloat16* gate_up, std::int64_t rows, int width, Stream stream);
/// Gradient of swiglu() in gate_up. @param act  [rows, width], receives swiglu(gate_up) unless it is null
void swiglu_backward(Bfloat16* dgate_up, Bfloat16* act, const Bfloat16* dact, const Bfloat16* gate_up, std::int64_t rows,
                     int width, Stream stream);

/// Rows of heads that may be part of wider rows.
struct Heads {
  Bfloat16* data;
  std::int64_t stride;  ///< elements from one row to the next
  int heads;
};
/// Cosines and sines of each row, [rows, head_dim / 2] float32.
struct Turns {
  const float *cos = nullptr, *sin = nullptr;
};
/// Rotate the halves of each head in place. Queries and keys that lie side by side are turned as one matrix.
void rotate(const Heads& x, const Turns& turns, bool inverse, std::int64_t rows, int head_dim, Stream stream);

/// The result of attention over some of the keys.
struct Half {
  const Bfloat16* out;  ///< [queries, heads * head_dim]
  const float* lse;     ///< [heads, queries], log-sum-exp of the scores; plus infinity where a query saw no key
};
/// Merge attention over two disjoint sets of keys into attention over both.
/// @param out  may be that of a half; @param lse  may not
void merge_halves(Bfloat16* out, float* lse, const Half& a, const Half& b, std::int64_t queries, int heads, int head_dim,
                  Stream stream);

/// Gradients of queries, keys or values from the two calls of attention, and where their sum goes.
struct HeadGradients {
  Heads sum;
  const Bfloat16 *own, *prefix;  ///< [rows, heads * head_dim]; a null prefix counts as zeros
  Turns turns;                   ///< undone in the sum; null for values, which are not rotated
  std::int64_t rows;
};
struct QkvGradients {
  HeadGradients q, k, v;
};
/// sum = (own + prefix), rotated back: the gradients of the projections from those of attention.
void combine_gradients(const QkvGradients& parts, int head_dim, Stream stream);

/// The widest rows that the norms below take.
constexpr int kNormWidthMax = 16384;
/// h = x + r, rstd = 1 / sqrt(mean(h^2) + eps), y = h * rstd * w. @param rstd  [rows], may be null
/// @param r  may be null: then x is normed, and h is not written
void rms_norm(Bfloat16* y, Bfloat16* h, float* rstd, const Bfloat16* x, const Bfloat16* r, const Bfloat16* w, std::int64_t rows,
              int width, float eps, Stream stream);
/// Gradient of y in h, plus `residual` unless that is null.
void rms_norm_backward(Bfloat16* dh, const Bfloat16* dy, const Bfloat16* h, const Bfloat16* w, const float* rstd,
                       const Bfloat16* residual, std::int64_t rows, int width, Stream stream);

/// What dropout drops, and how it scales the rest: the same elements as on the CPU.
struct Dropping {
  std::uint32_t threshold;  ///< elements whose hash is below it are dropped
  float keep;               ///< 1 / (1 - p)
  std::uint64_t key;
  std::int64_t first_row;
};
/// y = x * mask * keep, or y += that. @param y  may be x
void dropout(Bfloat16* y, const Bfloat16* x, const Dropping& dropping, bool add, std::int64_t rows, int width, Stream stream);

}  // namespace dmoerm::kernels
