#include "nn/attention_panels.h"

#include <ATen/ops/empty.h>

#include "nn/attention_tiles.h"
#include "nn/panel_sum.h"
#include "nn/transpose.h"

namespace dmoerm::nn::cpu {
namespace {

/// The keys (or values) of each span of a plan in panels [panels, head_dim, kPanel] for each key head.
class KeyPanels {
 public:
  KeyPanels(const AttentionPlan& plan, const at::Tensor& k_TC)
      : dim_(plan.shape.head_dim), first_(static_cast<std::size_t>(k_TC.size(0)), -1) {
    std::vector<data::Span> spans;
    const auto note = [&](const data::Span& span) {
      std::int64_t& first = first_[static_cast<std::size_t>(span.begin)];
      if (span.length == 0 || first >= 0) return;
      first = panels_;
      panels_ += (span.length + kPanel - 1) / kPanel;
      spans.push_back(span);
    };
    for (const AttentionCluster& cluster : plan.clusters) {
      for (const AttentionItem& item : cluster) {
        if (item.prefix.length > 0) note(item.prefix);
        note(item.own);
      }
    }
    keys_ = at::empty({plan.shape.kv_heads, panels_, dim_, kPanel}, k_TC.options());
    const Rows all = rows_of(k_TC);
    const auto count = std::ssize(spans);
    at::parallel_for(0, count * plan.shape.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task)
        lay_out(spans[static_cast<std::size_t>(task % count)], all.head(task / count, dim_), task / count);
    });
  }

  [[nodiscard]] float* of(const data::Span& span, std::int64_t kv_head) const {
    return keys_.data_ptr<float>() + (kv_head * panels_ + first_[static_cast<std::size_t>(span.begin)]) * dim_ * kPanel;
  }

 private:
  void lay_out(const data::Span& span, const Rows& keys, std::int64_t kv_head) const {
    float* to = of(span, kv_head);
    for (std::int64_t begin = 0; begin < span.length; begin += kPanel, to += dim_ * kPanel) {
      const std::int64_t count = std::min<std::int64_t>(kPanel, span.length - begin);
      if (count < kPanel) std::fill_n(to, dim_ * kPanel, 0.0F);
      copy_transposed(keys.at(span.begin + begin), keys.stride, count, dim_, to, kPanel);
    }
  }

  std::int64_t dim_, panels_ = 0;
  std::vector<std::int64_t> first_;  ///< Number of the first panel of the span that begins at a row
  at::Tensor keys_;
};

/// The rows that a tile works on: its queries under all heads that share its key head, one head under the other, so that one
/// product has enough rows.
class TileRows {
 public:
  TileRows(const TileTask& task, const HeadShape& shape)
      : count(shape.heads / shape.kv_heads * task.tile.count),
        task_(task),
        dim_(shape.head_dim),
        first_head_(task.kv_head * (shape.heads / shape.kv_heads)) {}

  const std::int64_t count;

  [[nodiscard]] std::int64_t head(std::int64_t i) const { return first_head_ + i / task_.tile.count; }
  [[nodiscard]] std::int64_t query(std::int64_t i) const { return task_.item->q_begin + task_.tile.first + i % task_.tile.count; }
  [[nodiscard]] std::int64_t visible(std::int64_t i) const { return task_.tile.visible(i % task_.tile.count); }
  [[nodiscard]] float* of(const Rows& all, std::int64_t i) const { return all.head(head(i), dim_).at(query(i)); }

  /// scale times the rows of `all`, in scratch memory.
  [[nodiscard]] Rows gather(const Rows& all, float scale, std::size_t slot) const {
    const Rows to{scratch(slot, count * dim_), dim_};
    for (std::int64_t i = 0; i < count; ++i) {
      const float* own = of(all, i);
#pragma omp simd
      for (std::int64_t d = 0; d < dim_; ++d) to.at(i)[d] = own[d] * scale;
    }
    return to;
  }

 private:
  const TileTask& task_;
  std::int64_t dim_, first_head_;
};

/// scores[rows, keys] from column `column` on: those of `count` keys in panels.
void score_span(const Rows& q, std::int64_t rows, const float* panels, std::int64_t count, std::int64_t dim, const Rows& scores,
                std::int64_t column) {
  for (std::int64_t begin = 0; begin < count; begin += kPanel, panels += dim * kPanel) {
    for_row_groups(0, rows, [&](auto group, std::int64_t row) {
      alignas(64) float sums[group.value][kPanel];
      sum_panel<group.value>(q.at(row), q.stride, panels, kPanel, dim, sums);
      for (int i = 0; i < group.value; ++i)
        std::copy_n(sums[i], std::min(kPanel, count - begin), scores.at(row + i) + column + begin);
    });
  }
}

/// The products of a tile's rows with all keys that the tile reads, in scratch memory: [rows, keys].
Rows score_keys(const Rows& q, std::int64_t rows, const TileTask& task, const KeyPanels& keys, std::int64_t dim,
                std::size_t slot) {
  const Tile& tile = task.tile;
  const std::int64_t stride = (tile.keys() + kLine - 1) / kLine * kLine;
  const Rows scores{scratch(slot, rows * stride), stride};
  if (tile.prefix > 0) score_span(q, rows, keys.of(task.item->prefix, task.kv_head), tile.prefix, dim, scores, 0);
  score_span(q, rows, keys.of(task.item->own, task.kv_head), tile.own, dim, scores, tile.prefix);
  return scores;
}

/// out = scale weights[rows, keys] v, for all rows of a tile. @param v  of the tile's key head
void weigh_keys(const Rows& weights, const TileRows& rows, const TileTask& task, const Rows& v, std::int64_t dim, float scale,
                const Rows& out) {
  const Tile& tile = task.tile;
  for (std::int64_t column = 0; column < dim; column += kPanel) {
    for_row_groups(0, rows.count, [&](auto group, std::int64_t row) {
      alignas(64) float prefix[group.value][kPanel], own[group.value][kPanel];
      sum_panel<group.value>(weights.at(row), weights.stride, v.at(task.item->prefix.begin) + column, v.stride, tile.prefix,
                             prefix);
      sum_panel<group.value>(weights.at(row) + tile.prefix, weights.stride, v.at(task.item->own.begin) + column, v.stride,
                             tile.own, own);
      for (int i = 0; i < group.value; ++i) {
        float* to = rows.of(out, row + i) + column;
#pragma omp simd
        for (std::int64_t c = 0; c < kPanel; ++c) to[c] = (prefix[i][c] + own[i][c]) * scale;
      }
    });
  }
}

/// sink[keys] += weights' x. @param weights  [rows, keys]; @param x  [rows, dim]
void add_to_keys(const Rows& weights, std::int64_t rows, std::int64_t keys, const Rows& x, std::int64_t dim, const Rows& sink) {
  for (std::int64_t column = 0; column < dim; column += kPanel) {
    for_row_groups(0, keys, [&](auto group, std::int64_t key) {
      alignas(64) float sums[group.value][kPanel];
      sum_panel<group.value, true>(weights.data + key, weights.stride, x.data + column, x.stride, rows, sums);
      for (int i = 0; i < group.value; ++i) {
        float* to = sink.at(key + i) + column;
#pragma omp simd
        for (std::int64_t c = 0; c < kPanel; ++c) to[c] += sums[i][c];
      }
    });
  }
}

/// Where a tile adds to gradients in keys (or values): rows of its prefix, counted from there, and of the whole batch.
struct KeySinks {
  Rows prefix, all;
};

/// The same for the keys of a tile's prefix and own.
void add_to_keys(const Rows& weights, const TileRows& rows, const TileTask& task, const Rows& x, std::int64_t dim,
                 const KeySinks& sinks) {
  const Tile& tile = task.tile;
  add_to_keys(weights, rows.count, tile.prefix, x, dim, sinks.prefix);
  add_to_keys({weights.data + tile.prefix, weights.stride}, rows.count, tile.own, x, dim,
              {sinks.all.at(task.item->own.begin), sinks.all.stride});
}

/// What one thread does of a backward pass: some items of a cluster under one key head. All items of a cluster add to the rows of
/// their prefix: the first part does, and the others' sums are added to it afterwards, in their order.
struct BackwardPart {
  std::span<const AttentionItem> items;
  std::int64_t kv_head;
  std::int64_t sums;  ///< Number of the first of its sums for the prefix; -1: the first part of its cluster

  [[nodiscard]] const data::Span& prefix() const { return items.back().prefix; }  // a prompt's own item has none and comes first
};

/// A cluster's items in parts of about equal work, however many threads there are, so that bits do not depend on that.
std::vector<std::span<const AttentionItem>> divide(std::span<const AttentionItem> items) {
  constexpr std::int64_t kLeast = 100'000, kMost = 4;  // pairs of query and key in a part; parts
  const auto pairs = [](const AttentionItem& item) { return item.q_count * (item.prefix.length + item.own.length); };
  std::int64_t all = 0, done = 0;
  for (const AttentionItem& item : items) all += pairs(item);
  const std::int64_t count = std::clamp<std::int64_t>(all / kLeast, 1, kMost);
  std::vector<std::span<const AttentionItem>> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    done += pairs(items[i]);
    if (i + 1 < items.size() && done * count < all * (std::ssize(parts) + 1)) continue;
    parts.push_back(items.subspan(begin, i + 1 - begin));
    begin = i + 1;
  }
  return parts;
}

/// The parts of a backward pass, and memory for the sums of those that are not the first of their cluster.
class BackwardParts {
 public:
  BackwardParts(const AttentionPlan& plan, const at::TensorOptions& options) : shape_(plan.shape) {
    std::int64_t floats = 0;
    for (const AttentionCluster& cluster : plan.clusters) {
      const auto divided = divide(cluster);
      for (std::int64_t kv_head = 0; kv_head < shape_.kv_heads; ++kv_head) {
        for (std::size_t i = 0; i < divided.size(); ++i) {
          parts_.push_back({divided[i], kv_head, i == 0 ? -1 : floats});
          if (i > 0) floats += 2 * divided[i].back().prefix.length * shape_.head_dim;
        }
      }
    }
    sums_ = at::empty({floats}, options);
  }

  [[nodiscard]] const std::vector<BackwardPart>& all() const { return parts_; }

  /// Where a part adds gradients in keys (`which` = 0) or values (1); its sums begin as zeros. @param sink  all gradients
  [[nodiscard]] KeySinks sinks(const BackwardPart& part, const Rows& sink, std::int64_t which) const {
    const Rows own = sink.head(part.kv_head, shape_.head_dim);
    if (part.sums < 0) return {{own.at(part.prefix().begin), own.stride}, own};
    const Rows sums = sums_of(part, which);
    std::fill_n(sums.data, part.prefix().length * shape_.head_dim, 0.0F);
    return {sums, own};
  }

  /// Add the sums of all parts to the gradients in keys and values.
  void add_sums(const Rows& dk, const Rows& dv) const {
    if (sums_.size(0) == 0) return;
    at::parallel_for(0, shape_.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
      for (const BackwardPart& part : parts_) {
        if (part.sums < 0 || part.kv_head < begin || part.kv_head >= end) continue;
        add_rows(sums_of(part, 0), part.prefix(), dk.head(part.kv_head, shape_.head_dim));
        add_rows(sums_of(part, 1), part.prefix(), dv.head(part.kv_head, shape_.head_dim));
      }
    });
  }

 private:
  [[nodiscard]] Rows sums_of(const BackwardPart& part, std::int64_t which) const {
    const std::int64_t dim = shape_.head_dim;
    return {sums_.data_ptr<float>() + part.sums + which * part.prefix().length * dim, dim};
  }

  void add_rows(const Rows& sums, const data::Span& span, const Rows& sink) const {
    for (std::int64_t i = 0; i < span.length; ++i) {
      const float* from = sums.at(i);
      float* to = sink.at(span.begin + i);
#pragma omp simd
      for (std::int64_t c = 0; c < shape_.head_dim; ++c) to[c] += from[c];
    }
  }

  HeadShape shape_;
  std::vector<BackwardPart> parts_;
  at::Tensor sums_;
};

/// From scores and gradients in weights those weights, and gradients in scores, in their places.
/// @param inner  inner product of the row's result with the gradient in it
void weight_gradients(float* p, float* dp, std::int64_t visible, std::int64_t keys, float lse, float inner) {
  const std::int64_t whole = whole_lines(visible, keys);
#pragma omp simd
  for (std::int64_t j = 0; j < whole; ++j) {
    p[j] = fast_exp(p[j] - lse);
    dp[j] = p[j] * (dp[j] - inner);
  }
  std::fill(p + visible, p + keys, 0.0F);
  std::fill(dp + visible, dp + keys, 0.0F);
}

float inner_product(const float* a, const float* b, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < count; ++c) sum += a[c] * b[c];
  return sum;
}

float score_scale(std::int64_t dim) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim))); }

}  // namespace

Attended attention_by_panels(const Qkv& in, const AttentionPlan& plan) {
  const HeadShape& shape = plan.shape;
  const std::int64_t dim = shape.head_dim, queries = in.q.size(0);
  Attended result{at::empty({queries, shape.heads * dim}, in.q.options()), at::empty({shape.heads, queries}, in.q.options())};
  const Rows all_q = rows_of(in.q), all_v = rows_of(in.v_TC), all_out = rows_of(result.out);
  const KeyPanels keys(plan, in.k_TC);
  float* lse = result.lse_HT.data_ptr<float>();
  for_each_in_turn(forward_tasks(plan), [&](const TileTask& task) {
    const TileRows rows(task, shape);
    const Rows q = rows.gather(all_q, score_scale(dim), 1), scores = score_keys(q, rows.count, task, keys, dim, 0);
    for (std::int64_t i = 0; i < rows.count; ++i)
      lse[rows.head(i) * queries + rows.query(i)] = softmax_row(scores.at(i), rows.visible(i), task.tile.keys());
    weigh_keys(scores, rows, task, all_v.head(task.kv_head, dim), dim, 1, all_out);
  });
  return result;
}

void attention_backward_by_panels(const at::Tensor& dout, const Qkv& in, const Attended& result, const AttentionPlan& plan,
                                  const Qkv& d) {
  const HeadShape& shape = plan.shape;
  const std::int64_t dim = shape.head_dim, queries = in.q.size(0);
  const Rows all_q = rows_of(in.q), all_k = rows_of(in.k_TC), all_out = rows_of(result.out), all_dout = rows_of(dout),
             all_dq = rows_of(d.q), all_dk = rows_of(d.k_TC), all_dv = rows_of(d.v_TC);
  const KeyPanels keys(plan, in.k_TC), values(plan, in.v_TC);
  const float* lse = result.lse_HT.const_data_ptr<float>();
  const float scale = score_scale(dim);
  const BackwardParts parts(plan, in.q.options());
  for_each_in_turn(parts.all(), [&](const BackwardPart& part) {
    const Rows k = all_k.head(part.kv_head, dim);
    const KeySinks dk = parts.sinks(part, all_dk, 0), dv = parts.sinks(part, all_dv, 1);
    for_each_tile(part.items, part.kv_head, plan, [&](const TileTask& task) {
      const TileRows rows(task, shape);
      const Rows q = rows.gather(all_q, scale, 2), g = rows.gather(all_dout, 1, 3);
      const Rows p = score_keys(q, rows.count, task, keys, dim, 0), dp = score_keys(g, rows.count, task, values, dim, 1);
      for (std::int64_t i = 0; i < rows.count; ++i)
        weight_gradients(p.at(i), dp.at(i), rows.visible(i), task.tile.keys(), lse[rows.head(i) * queries + rows.query(i)],
                         inner_product(g.at(i), rows.of(all_out, i), dim));
      weigh_keys(dp, rows, task, k, dim, scale, all_dq);
      add_to_keys(dp, rows, task, q, dim, dk);
      add_to_keys(p, rows, task, g, dim, dv);
    });
  });
  parts.add_sums(all_dk, all_dv);
}

}  // namespace dmoerm::nn::cpu
