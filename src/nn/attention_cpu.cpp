#include "nn/attention_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>

#include "nn/simd_math.h"

extern "C" void sgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k, const float* alpha,
                       const float* a, const int* lda, const float* b, const int* ldb, const float* beta, float* c,
                       const int* ldc);

namespace dmoerm::nn {
namespace {

constexpr std::int64_t kTile = 64;  // queries per tile; their scores for 1,000 keys take 256 kB

/// The rows of a matrix in memory; head() narrows them to the columns of one head.
struct Rows {
  float* data;
  std::int64_t stride;
  [[nodiscard]] float* at(std::int64_t row) const { return data + row * stride; }
  [[nodiscard]] Rows head(std::int64_t h, std::int64_t dim) const { return {data + h * dim, stride}; }
};

Rows rows_of(const at::Tensor& x) { return {const_cast<float*>(x.const_data_ptr<float>()), x.stride(0)}; }

/// Row-major C[m, n] = alpha op(A) op(B) + beta C.
void gemm(bool trans_a, bool trans_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  const int mi = static_cast<int>(n), ni = static_cast<int>(m), ki = static_cast<int>(k), la = static_cast<int>(ldb),
            lb = static_cast<int>(lda), lc = static_cast<int>(ldc);
  sgemm_(trans_b ? "T" : "N", trans_a ? "T" : "N", &mi, &ni, &ki, &alpha, b, &la, a, &lb, &beta, c, &lc);
}

/// One tile of one item: `count` queries from `first`, of which query i sees the first keys(i) keys.
struct Tile {
  std::int64_t first, count;
  std::int64_t prefix, own;  ///< Numbers of keys that the tile reads: the whole prefix, and own keys up to the tile's end
  std::int64_t offset;       ///< Place of the item's query 0 among its own keys
  bool causal;
  [[nodiscard]] std::int64_t keys() const { return prefix + own; }
  [[nodiscard]] std::int64_t visible(std::int64_t i) const { return causal ? prefix + offset + first + i + 1 : keys(); }
};

Tile make_tile(const AttentionItem& item, std::int64_t first, bool causal) {
  const std::int64_t count = std::min(kTile, item.q_count - first), offset = causal ? item.own.length - item.q_count : 0;
  return {first, count, item.prefix.length, causal ? offset + first + count : item.own.length, offset, causal};
}

/// scores[count, keys] = scale * q k' over the keys of prefix and own.
void tile_scores(const Tile& tile, const AttentionItem& item, const Rows& q, const Rows& k, std::int64_t dim, float scale,
                 float* scores) {
  const float* queries = q.at(item.q_begin + tile.first);
  if (tile.prefix > 0)
    gemm(false, true, tile.count, tile.prefix, dim, scale, queries, q.stride, k.at(item.prefix.begin), k.stride, 0, scores,
         tile.keys());
  gemm(false, true, tile.count, tile.own, dim, scale, queries, q.stride, k.at(item.own.begin), k.stride, 0, scores + tile.prefix,
       tile.keys());
}

/// out[count, dim] = weights[count, keys] * rows of the prefix and own.
void weigh_rows(const Tile& tile, const AttentionItem& item, const float* weights, const Rows& v, std::int64_t dim, float* out,
                std::int64_t out_stride) {
  if (tile.prefix > 0)
    gemm(false, false, tile.count, dim, tile.prefix, 1, weights, tile.keys(), v.at(item.prefix.begin), v.stride, 0, out,
         out_stride);
  gemm(false, false, tile.count, dim, tile.own, 1, weights + tile.prefix, tile.keys(), v.at(item.own.begin), v.stride,
       tile.prefix > 0 ? 1 : 0, out, out_stride);
}

/// rows of the prefix and own += weights' * x[count, dim].
void scatter_rows(const Tile& tile, const AttentionItem& item, const float* weights, const float* x, std::int64_t x_stride,
                  std::int64_t dim, const Rows& sink) {
  if (tile.prefix > 0)
    gemm(true, false, tile.prefix, dim, tile.count, 1, weights, tile.keys(), x, x_stride, 1, sink.at(item.prefix.begin),
         sink.stride);
  gemm(true, false, tile.own, dim, tile.count, 1, weights + tile.prefix, tile.keys(), x, x_stride, 1, sink.at(item.own.begin),
       sink.stride);
}

float softmax_row(float* row, std::int64_t visible, std::int64_t keys) {
  float top = row[0];
#pragma omp simd reduction(max : top)
  for (std::int64_t j = 0; j < visible; ++j) top = std::max(top, row[j]);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < visible; ++j) {
    row[j] = fast_exp(row[j] - top);
    sum += row[j];
  }
  const float inverse = 1.0F / sum;
#pragma omp simd
  for (std::int64_t j = 0; j < visible; ++j) row[j] *= inverse;
  std::fill(row + visible, row + keys, 0.0F);
  return top + std::log(sum);
}

constexpr std::align_val_t kCacheLine{64};

struct FreeAligned {
  void operator()(float* floats) const { ::operator delete[](floats, kCacheLine); }
};

/// A thread's own memory, aligned as tensors are: a BLAS may round differently for other alignments.
float* scratch(std::size_t slot, std::int64_t floats) {
  struct Buffer {
    std::unique_ptr<float, FreeAligned> memory;
    std::int64_t floats = 0;
  };
  thread_local Buffer buffers[2];
  Buffer& buffer = buffers[slot];
  if (buffer.floats < floats) {
    buffer.memory.reset(static_cast<float*>(::operator new[](static_cast<std::size_t>(floats) * sizeof(float), kCacheLine)));
    buffer.floats = floats;
  }
  return buffer.memory.get();
}

/// Run `work(cluster, kv_head)` for all clusters and key heads in parallel; each writes to rows and columns of its own.
template <class Work>
void for_each_task(const AttentionPlan& plan, const Work& work) {
  const std::int64_t kv_heads = plan.shape.kv_heads;
  at::parallel_for(0, static_cast<std::int64_t>(plan.clusters.size()) * kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task)
      work(plan.clusters[static_cast<std::size_t>(task / kv_heads)], task % kv_heads);
  });
}

/// Call `work(item, tile, head)` for the query heads that share one key head.
template <class Work>
void for_each_tile(const AttentionCluster& cluster, std::int64_t kv_head, const AttentionPlan& plan, const Work& work) {
  const std::int64_t repeat = plan.shape.heads / plan.shape.kv_heads;
  for (const AttentionItem& item : cluster) {
    for (std::int64_t h = kv_head * repeat; h < (kv_head + 1) * repeat; ++h) {
      for (std::int64_t first = 0; first < item.q_count; first += kTile) work(item, make_tile(item, first, plan.causal), h);
    }
  }
}

}  // namespace

namespace cpu {

Attended attention(const Qkv& in, const AttentionPlan& plan) {
  const HeadShape& shape = plan.shape;
  const std::int64_t dim = shape.head_dim, queries = in.q.size(0);
  Attended result{at::empty({queries, shape.heads * dim}, in.q.options()), at::empty({shape.heads, queries}, in.q.options())};
  const Rows all_q = rows_of(in.q), all_k = rows_of(in.k_TC), all_v = rows_of(in.v_TC), all_out = rows_of(result.out);
  float* lse = result.lse_HT.data_ptr<float>();
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  for_each_task(plan, [&](const AttentionCluster& cluster, std::int64_t kv_head) {
    const Rows kh = all_k.head(kv_head, dim), vh = all_v.head(kv_head, dim);
    for_each_tile(cluster, kv_head, plan, [&](const AttentionItem& item, const Tile& tile, std::int64_t h) {
      float* scores = scratch(0, tile.count * tile.keys());
      tile_scores(tile, item, all_q.head(h, dim), kh, dim, scale, scores);
      for (std::int64_t i = 0; i < tile.count; ++i) {
        lse[h * queries + item.q_begin + tile.first + i] = softmax_row(scores + i * tile.keys(), tile.visible(i), tile.keys());
      }
      weigh_rows(tile, item, scores, vh, dim, all_out.head(h, dim).at(item.q_begin + tile.first), all_out.stride);
    });
  });
  return result;
}

void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d) {
  const HeadShape& shape = plan.shape;
  const std::int64_t dim = shape.head_dim, queries = in.q.size(0);
  const Rows all_q = rows_of(in.q), all_k = rows_of(in.k_TC), all_v = rows_of(in.v_TC), all_out = rows_of(result.out),
             all_dout = rows_of(dout), all_dq = rows_of(d.q), all_dk = rows_of(d.k_TC), all_dv = rows_of(d.v_TC);
  const float* lse = result.lse_HT.const_data_ptr<float>();
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  for_each_task(plan, [&](const AttentionCluster& cluster, std::int64_t kv_head) {
    const Rows kh = all_k.head(kv_head, dim), vh = all_v.head(kv_head, dim), dkh = all_dk.head(kv_head, dim),
               dvh = all_dv.head(kv_head, dim);
    for_each_tile(cluster, kv_head, plan, [&](const AttentionItem& item, const Tile& tile, std::int64_t h) {
      const std::int64_t keys = tile.keys(), row = item.q_begin + tile.first;
      float *p = scratch(0, tile.count * keys), *dp = scratch(1, tile.count * keys);
      const Rows qh = all_q.head(h, dim), gh = all_dout.head(h, dim), oh = all_out.head(h, dim);
      tile_scores(tile, item, qh, kh, dim, scale, p);
      tile_scores(tile, item, gh, vh, dim, 1, dp);
      for (std::int64_t i = 0; i < tile.count; ++i) {
        float *pi = p + i * keys, *dpi = dp + i * keys;
        const float *g = gh.at(row + i), *o = oh.at(row + i);
        float delta = 0;
#pragma omp simd reduction(+ : delta)
        for (std::int64_t c = 0; c < dim; ++c) delta += g[c] * o[c];
        const float shift = lse[h * queries + row + i];
        const std::int64_t visible = tile.visible(i);
#pragma omp simd
        for (std::int64_t j = 0; j < visible; ++j) {
          pi[j] = fast_exp(pi[j] - shift);
          dpi[j] = pi[j] * (dpi[j] - delta) * scale;
        }
        std::fill(pi + visible, pi + keys, 0.0F);
        std::fill(dpi + visible, dpi + keys, 0.0F);
      }
      weigh_rows(tile, item, dp, kh, dim, all_dq.head(h, dim).at(row), all_dq.stride);
      scatter_rows(tile, item, dp, qh.at(row), qh.stride, dim, dkh);
      scatter_rows(tile, item, p, gh.at(row), gh.stride, dim, dvh);
    });
  });
}

}  // namespace cpu

}  // namespace dmoerm::nn
