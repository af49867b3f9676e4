// What the forward passes of attention over float32 on the CPU share: tiles of queries, and how threads take them.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "nn/attention_plan.h"
#include "nn/simd_math.h"

namespace dmoerm::nn {

inline constexpr std::int64_t kTileRows = 96;  // queries of all heads that share a key head, per tile of a forward pass

/// The rows of a matrix in memory; head() narrows them to the columns of one head.
struct Rows {
  float* data;
  std::int64_t stride;
  [[nodiscard]] float* at(std::int64_t row) const { return data + row * stride; }
  [[nodiscard]] Rows head(std::int64_t h, std::int64_t dim) const { return {data + h * dim, stride}; }
};

inline Rows rows_of(const at::Tensor& x) { return {const_cast<float*>(x.const_data_ptr<float>()), x.stride(0)}; }

/// One tile of one item: `count` queries from `first`, of which query i sees the first keys(i) keys.
struct Tile {
  std::int64_t first, count;
  std::int64_t prefix, own;  ///< Numbers of keys that the tile reads: the whole prefix, and own keys up to the tile's end
  std::int64_t offset;       ///< Place of the item's query 0 among its own keys
  bool causal;
  [[nodiscard]] std::int64_t keys() const { return prefix + own; }
  [[nodiscard]] std::int64_t visible(std::int64_t i) const { return causal ? prefix + offset + first + i + 1 : keys(); }
};

inline Tile make_tile(const AttentionItem& item, std::int64_t first, std::int64_t queries, bool causal) {
  const std::int64_t count = std::min(queries, item.q_count - first), offset = causal ? item.own.length - item.q_count : 0;
  return {first, count, item.prefix.length, causal ? offset + first + count : item.own.length, offset, causal};
}

/// Softmax over the first `visible` of `keys` scores, and zeros beyond. @return the log-sum-exp
inline float softmax_row(float* row, std::int64_t visible, std::int64_t keys) {
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

inline constexpr std::align_val_t kCacheLine{64};

struct FreeAligned {
  void operator()(float* floats) const { ::operator delete[](floats, kCacheLine); }
};

/// A thread's own memory, aligned as tensors are: a BLAS may round differently for other alignments.
inline float* scratch(std::size_t slot, std::int64_t floats) {
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

/// A tile of a forward pass: some queries of an item under all heads that share one key head.
struct ForwardTask {
  const AttentionItem* item;
  std::int64_t kv_head;
  Tile tile;
};

inline std::vector<ForwardTask> forward_tasks(const AttentionPlan& plan) {
  const std::int64_t repeat = plan.shape.heads / plan.shape.kv_heads, queries = std::max<std::int64_t>(1, kTileRows / repeat);
  std::vector<ForwardTask> tasks;
  for (const AttentionCluster& cluster : plan.clusters) {
    for (std::int64_t kv_head = 0; kv_head < plan.shape.kv_heads; ++kv_head) {
      for (const AttentionItem& item : cluster) {
        for (std::int64_t first = 0; first < item.q_count; first += queries)
          tasks.push_back({&item, kv_head, make_tile(item, first, queries, plan.causal)});
      }
    }
  }
  return tasks;
}

/// Run `work(task)` for all tasks; each thread takes the next one when it is done with its last.
template <class Work>
void for_each_in_turn(const std::vector<ForwardTask>& tasks, const Work& work) {
  std::atomic<std::size_t> next = 0;
  // All threads, even for one task: outside of a parallel region the BLAS would use several for one product, and round otherwise.
  at::parallel_for(0, std::max(1, at::get_num_threads()), 1, [&](std::int64_t, std::int64_t) {
    for (std::size_t task = next++; task < tasks.size(); task = next++) work(tasks[task]);
  });
}

}  // namespace dmoerm::nn
