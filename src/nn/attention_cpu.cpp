#include "nn/attention_cpu.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "nn/attention_panels.h"
#include "nn/attention_tiles.h"
#include "nn/panel_sum.h"
#include "nn/simd_math.h"

extern "C" void sgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k, const float* alpha,
                       const float* a, const int* lda, const float* b, const int* ldb, const float* beta, float* c,
                       const int* ldc);

namespace dmoerm::nn {
namespace {

constexpr std::int64_t kTile = 64;  // queries per tile of a backward pass; their scores for 1,000 keys take 256 kB

/// Row-major C[m, n] = alpha op(A) op(B) + beta C.
void gemm(bool trans_a, bool trans_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  const int mi = static_cast<int>(n), ni = static_cast<int>(m), ki = static_cast<int>(k), la = static_cast<int>(ldb),
            lb = static_cast<int>(lda), lc = static_cast<int>(ldc);
  sgemm_(trans_b ? "T" : "N", trans_a ? "T" : "N", &mi, &ni, &ki, &alpha, b, &la, a, &lb, &beta, c, &lc);
}

/// scores[rows, keys] = scale * q k' over the keys of prefix and own. @param q  `rows` queries
void tile_scores(const Tile& tile, const AttentionItem& item, const Rows& q, std::int64_t rows, const Rows& k, std::int64_t dim,
                 float scale, float* scores) {
  if (tile.prefix > 0)
    gemm(false, true, rows, tile.prefix, dim, scale, q.data, q.stride, k.at(item.prefix.begin), k.stride, 0, scores, tile.keys());
  gemm(false, true, rows, tile.own, dim, scale, q.data, q.stride, k.at(item.own.begin), k.stride, 0, scores + tile.prefix,
       tile.keys());
}

/// out[rows, dim] = weights[rows, keys] * rows of the prefix and own.
void weigh_rows(const Tile& tile, const AttentionItem& item, const float* weights, std::int64_t rows, const Rows& v,
                std::int64_t dim, const Rows& out) {
  if (tile.prefix > 0)
    gemm(false, false, rows, dim, tile.prefix, 1, weights, tile.keys(), v.at(item.prefix.begin), v.stride, 0, out.data,
         out.stride);
  gemm(false, false, rows, dim, tile.own, 1, weights + tile.prefix, tile.keys(), v.at(item.own.begin), v.stride,
       tile.prefix > 0 ? 1 : 0, out.data, out.stride);
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

/// All queries of a cluster under the heads that share one key head: they add to the same rows.
struct KeyHeadTask {
  const AttentionCluster* cluster;
  std::int64_t kv_head;
};

/// The tasks of a backward pass.
std::vector<KeyHeadTask> backward_tasks(const AttentionPlan& plan) {
  std::vector<KeyHeadTask> tasks;
  for (const AttentionCluster& cluster : plan.clusters) {
    for (std::int64_t kv_head = 0; kv_head < plan.shape.kv_heads; ++kv_head) tasks.push_back({&cluster, kv_head});
  }
  return tasks;
}

/// Call `work(item, tile, head)` for the query heads that share one key head.
template <class Work>
void for_each_head_tile(const AttentionCluster& cluster, std::int64_t kv_head, const AttentionPlan& plan, const Work& work) {
  const std::int64_t repeat = plan.shape.heads / plan.shape.kv_heads;
  for (const AttentionItem& item : cluster) {
    for (std::int64_t h = kv_head * repeat; h < (kv_head + 1) * repeat; ++h) {
      for (std::int64_t first = 0; first < item.q_count; first += kTile)
        work(item, make_tile(item, first, kTile, plan.causal), h);
    }
  }
}

}  // namespace

namespace cpu {

Attended attention(const Qkv& in, const AttentionPlan& plan) {
  if (kPanelsAreFast && plan.shape.head_dim % kPanel == 0) return attention_by_panels(in, plan);
  const HeadShape& shape = plan.shape;
  const std::int64_t dim = shape.head_dim, queries = in.q.size(0);
  Attended result{at::empty({queries, shape.heads * dim}, in.q.options()), at::empty({shape.heads, queries}, in.q.options())};
  const Rows all_q = rows_of(in.q), all_k = rows_of(in.k_TC), all_v = rows_of(in.v_TC), all_out = rows_of(result.out);
  float* lse = result.lse_HT.data_ptr<float>();
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  const std::int64_t repeat = shape.heads / shape.kv_heads;
  for_each_in_turn(forward_tasks(plan), [&](const TileTask& task) {
    const Tile& tile = task.tile;
    const std::int64_t rows = repeat * tile.count, row = task.item->q_begin + tile.first, first_head = task.kv_head * repeat;
    const Rows kh = all_k.head(task.kv_head, dim), vh = all_v.head(task.kv_head, dim);
    // The heads' queries one under the other, so that one product has enough rows; afterwards their results.
    const Rows own{scratch(1, rows * dim), dim};
    float* scores = scratch(0, rows * tile.keys());
    for (std::int64_t i = 0; i < rows; ++i)
      std::copy_n(all_q.head(first_head + i / tile.count, dim).at(row + i % tile.count), dim, own.at(i));
    tile_scores(tile, *task.item, own, rows, kh, dim, scale, scores);
    float* inverses = scratch(2, rows);
    for (std::int64_t i = 0; i < rows; ++i) {
      const SoftmaxRow found = softmax_row(scores + i * tile.keys(), tile.visible(i % tile.count), tile.keys());
      lse[(first_head + i / tile.count) * queries + row + i % tile.count] = found.lse;
      inverses[i] = found.inverse;
    }
    weigh_rows(tile, *task.item, scores, rows, vh, dim, own);
    for (std::int64_t i = 0; i < rows; ++i) {
      float* out = all_out.head(first_head + i / tile.count, dim).at(row + i % tile.count);
#pragma omp simd
      for (std::int64_t c = 0; c < dim; ++c) out[c] = own.at(i)[c] * inverses[i];
    }
  });
  return result;
}

void attention_backward(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan, const Qkv& d) {
  if (kPanelsAreFast && plan.shape.head_dim % kPanel == 0) return attention_backward_by_panels(dout, in, result, plan, d);
  const HeadShape& shape = plan.shape;
  const std::int64_t dim = shape.head_dim, queries = in.q.size(0);
  const Rows all_q = rows_of(in.q), all_k = rows_of(in.k_TC), all_v = rows_of(in.v_TC), all_out = rows_of(result.out),
             all_dout = rows_of(dout), all_dq = rows_of(d.q), all_dk = rows_of(d.k_TC), all_dv = rows_of(d.v_TC);
  const float* lse = result.lse_HT.const_data_ptr<float>();
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  for_each_in_turn(backward_tasks(plan), [&](const KeyHeadTask& task) {
    const std::int64_t kv_head = task.kv_head;
    const Rows kh = all_k.head(kv_head, dim), vh = all_v.head(kv_head, dim), dkh = all_dk.head(kv_head, dim),
               dvh = all_dv.head(kv_head, dim);
    for_each_head_tile(*task.cluster, kv_head, plan, [&](const AttentionItem& item, const Tile& tile, std::int64_t h) {
      const std::int64_t keys = tile.keys(), row = item.q_begin + tile.first;
      float *p = scratch(0, tile.count * keys), *dp = scratch(1, tile.count * keys);
      const Rows qh = all_q.head(h, dim), gh = all_dout.head(h, dim), oh = all_out.head(h, dim);
      tile_scores(tile, item, {qh.at(row), qh.stride}, tile.count, kh, dim, scale, p);
      tile_scores(tile, item, {gh.at(row), gh.stride}, tile.count, vh, dim, 1, dp);
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
      weigh_rows(tile, item, dp, tile.count, kh, dim, {all_dq.head(h, dim).at(row), all_dq.stride});
      scatter_rows(tile, item, dp, qh.at(row), qh.stride, dim, dkh);
      scatter_rows(tile, item, p, gh.at(row), gh.stride, dim, dvh);
    });
  });
}

}  // namespace cpu

}  // namespace dmoerm::nn
