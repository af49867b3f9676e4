// What the passes of attention over float32 on the CPU share: tiles of queries, and how threads take them.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "nn/attention_plan.h"
#include "nn/simd_math.h"

namespace dmoerm::nn {

inline constexpr std::int64_t kTileRows = 96;  // queries of all heads that share a key head, per tile

inline constexpr std::int64_t kLine = 16;  // floats of a line of the cache, and of a register

/// `visible` rounded up to whole lines, but no more than `keys`: loops over whole registers are fast, and zeros replace what is
/// beyond `visible` afterwards.
inline std::int64_t whole_lines(std::int64_t visible, std::int64_t keys) {
  return std::min(keys, (visible + kLine - 1) / kLine * kLine);
}

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

/// The largest of some numbers, at least one.
inline float largest(const float* row, std::int64_t count) {
  float top = row[0];
  std::int64_t j = 0;
  if (count >= kLine) {
    float tops[kLine];
    std::copy_n(row, kLine, tops);
    for (j = kLine; j + kLine <= count; j += kLine) {
#pragma omp simd
      for (std::int64_t lane = 0; lane < kLine; ++lane) tops[lane] = row[j + lane] > tops[lane] ? row[j + lane] : tops[lane];
    }
    top = *std::max_element(tops, tops + kLine);
  }
  for (; j < count; ++j) top = std::max(top, row[j]);
  return top;
}

/// What softmax_row() found of a row.
struct SoftmaxRow {
  float lse;      ///< log-sum-exp of the scores
  float inverse;  ///< 1 / sum of the weights
};

/// Of the first `visible` of `keys` scores the weights of a softmax, not yet divided by their sum, and zeros beyond.
inline SoftmaxRow softmax_row(float* row, std::int64_t visible, std::int64_t keys) {
  const float top = largest(row, visible);
  const std::int64_t whole = whole_lines(visible, keys);
  std::fill(row + visible, row + whole, -std::numeric_limits<float>::infinity());  // a weight of 0
  float sums[kLine] = {};
  std::int64_t j = 0;
  for (; j + kLine <= whole; j += kLine) {
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLine; ++lane) {
      row[j + lane] = fast_exp(row[j + lane] - top);
      sums[lane] += row[j + lane];
    }
  }
  for (; j < whole; ++j) {
    row[j] = fast_exp(row[j] - top);
    sums[0] += row[j];
  }
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t lane = 0; lane < kLine; ++lane) sum += sums[lane];
  std::fill(row + whole, row + keys, 0.0F);
  return {top + std::log(sum), 1.0F / sum};
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
  thread_local Buffer buffers[5];
  Buffer& buffer = buffers[slot];
  if (buffer.floats < floats) {
    buffer.memory.reset(static_cast<float*>(::operator new[](static_cast<std::size_t>(floats) * sizeof(float), kCacheLine)));
    buffer.floats = floats;
  }
  return buffer.memory.get();
}

/// A tile: some queries of an item under all heads that share one key head.
struct TileTask {
  const AttentionItem* item;
  std::int64_t kv_head;
  Tile tile;
};

/// Call `work(TileTask)` for all tiles of some items under one key head, in their order.
template <class Work>
void for_each_tile(std::span<const AttentionItem> items, std::int64_t kv_head, const AttentionPlan& plan, const Work& work) {
  const std::int64_t repeat = plan.shape.heads / plan.shape.kv_heads, queries = std::max<std::int64_t>(1, kTileRows / repeat);
  for (const AttentionItem& item : items) {
    for (std::int64_t first = 0; first < item.q_count; first += queries)
      work(TileTask{&item, kv_head, make_tile(item, first, queries, plan.causal)});
  }
}

/// The tiles of a forward pass.
inline std::vector<TileTask> forward_tasks(const AttentionPlan& plan) {
  std::vector<TileTask> tasks;
  for (const AttentionCluster& cluster : plan.clusters) {
    for (std::int64_t kv_head = 0; kv_head < plan.shape.kv_heads; ++kv_head)
      for_each_tile(cluster, kv_head, plan, [&](const TileTask& task) { tasks.push_back(task); });
  }
  return tasks;
}

/// Run `work(task)` for all tasks; each thread takes the next one when it is done with its last.
template <class Task, class Work>
void for_each_in_turn(const std::vector<Task>& tasks, const Work& work) {
  std::atomic<std::size_t> next = 0;
  // All threads, even for one task: outside of a parallel region the BLAS would use several for one product, and round otherwise.
  at::parallel_for(0, std::max(1, at::get_num_threads()), 1, [&](std::int64_t, std::int64_t) {
    for (std::size_t task = next++; task < tasks.size(); task = next++) work(tasks[task]);
  });
}

}  // namespace dmoerm::nn
