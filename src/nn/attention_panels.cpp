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

/// The rows that a tile works on: each of its queries under all heads that share its key head, query by query, so that one
/// product has enough rows and later rows see no fewer keys.
class TileRows {
 public:
  TileRows(const TileTask& task, const HeadShape& shape)
      : count(shape.heads / shape.kv_heads * task.tile.count),
        task_(task),
        dim_(shape.head_dim),
        heads_(shape.heads / shape.kv_heads) {
    places_.reserve(static_cast<std::size_t>(count));
    for (std::int64_t query = 0; query < task.tile.count; ++query) {
      for (std::int64_t h = 0; h < heads_; ++h) places_.push_back({query, task.kv_head * heads_ + h});
    }
  }

  const std::int64_t count;

  [[nodiscard]] std::int64_t head(std::int64_t i) const { return place(i).head; }
  [[nodiscard]] std::int64_t query(std::int64_t i) const { return task_.item->q_begin + task_.tile.first + place(i).query; }
  [[nodiscard]] std::int64_t visible(std::int64_t i) const { return task_.tile.visible(place(i).query); }
  [[nodiscard]] float* of(const Rows& all, std::int64_t i) const { return all.head(head(i), dim_).at(query(i)); }

  /// The first row that sees key `key` of the item's own; all later ones do too.
  [[nodiscard]] std::int64_t first_that_sees(std::int64_t key) const {
    const Tile& tile = task_.tile;
    return tile.causal ? std::clamp<std::int64_t>(key - tile.offset - tile.first, 0, tile.count) * heads_ : 0;
  }
  /// How many of the item's own keys row i sees.
  [[nodiscard]] std::int64_t own_visible(std::int64_t i) const { return visible(i) - task_.tile.prefix; }

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
  struct Place {
    std::int64_t query, head;  ///< The query counts from the tile's first
  };
  [[nodiscard]] const Place& place(std::int64_t i) const { return places_[static_cast<std::size_t>(i)]; }

  const TileTask& task_;
  std::int64_t dim_, heads_;
  std::vector<Place> places_;  ///< Of all rows: no division in the loops over them
};

/// Numbers from row to row of scores: room for whole panels, and an odd number of a cache's lines, so that a column of a tile
/// spreads over the cache.
std::int64_t score_stride(const Tile& tile) {
  const auto whole = [](std::int64_t keys) { return (keys + kPanel - 1) / kPanel * kPanel; };
  const std::int64_t floats = std::max(whole(tile.prefix), tile.prefix + whole(tile.own));
  return ((floats + kLine - 1) / kLine | 1) * kLine;
}

/// scores[rows, keys] of the rows from `first` on with the keys of one panel; what lies beyond the keys is overwritten.
void score_panel(const Rows& q, std::int64_t first, std::int64_t rows, const float* panel, std::int64_t dim, const Rows& scores) {
  for_row_groups(first, rows, [&](auto group, std::int64_t row) {
    const Rows to{scores.at(row), scores.stride};
    for_panel_sums<group.value>(q.at(row), q.stride, panel, kPanel, dim,
                                [to](int i, std::int64_t column, Lanes sums) { sums.store(to.at(i) + column); });
  });
}

/// The products of a tile's rows with all keys that the tile reads, in scratch memory: [rows, keys]. Rows that see no key of a
/// panel have zeros there.
Rows score_keys(const Rows& q, const TileRows& rows, const TileTask& task, const KeyPanels& keys, std::int64_t dim,
                std::size_t slot) {
  const Tile& tile = task.tile;
  const std::int64_t stride = score_stride(tile);
  const Rows scores{scratch(slot, rows.count * stride), stride};
  const float* panel = tile.prefix > 0 ? keys.of(task.item->prefix, task.kv_head) : nullptr;
  for (std::int64_t begin = 0; begin < tile.prefix; begin += kPanel, panel += dim * kPanel)
    score_panel(q, 0, rows.count, panel, dim, {scores.data + begin, stride});
  panel = keys.of(task.item->own, task.kv_head);
  for (std::int64_t begin = 0; begin < tile.own; begin += kPanel, panel += dim * kPanel) {
    const Rows to{scores.data + tile.prefix + begin, stride};
    const std::int64_t first = rows.first_that_sees(begin);
    for (std::int64_t i = 0; i < first; ++i) std::fill_n(to.at(i), kPanel, 0.0F);
    score_panel(q, first, rows.count, panel, dim, to);
  }
  return scores;
}

/// out = scales weights[rows, keys] v, for all rows of a tile. @param v  of the tile's key head; @param scales  of each row
void weigh_keys(const Rows& weights, const TileRows& rows, const TileTask& task, const Rows& v, std::int64_t dim,
                const float* scales, const Rows& out) {
  const std::int64_t prefix = task.tile.prefix;
  for (std::int64_t column = 0; column < dim; column += kPanel) {
    for_row_groups(0, rows.count, [&](auto group, std::int64_t row) {
      alignas(64) float of_prefix[group.value][kPanel];
      sum_panel<group.value>(weights.at(row), weights.stride, v.at(task.item->prefix.begin) + column, v.stride, prefix,
                             of_prefix);
      for_panel_sums<group.value>(
          weights.at(row) + prefix, weights.stride, v.at(task.item->own.begin) + column, v.stride,
          rows.own_visible(row + group.value - 1), [&](int i, std::int64_t lane, Lanes sums) {
            const Lanes all = multiply_add(Lanes::all(1), sums, Lanes::load(of_prefix[i] + lane));
            multiply_add(Lanes::all(scales[row + i]), all, Lanes::zero()).store(rows.of(out, row + i) + column + lane);
          });
    });
  }
}

/// sink[keys] += weights' x, for `keys` keys; rows from first_row(key) on see a key.
/// @param weights  [rows, keys]; @param x  [rows, dim]
template <class FirstRow>
void add_to_keys(const Rows& weights, std::int64_t rows, std::int64_t keys, const Rows& x, std::int64_t dim, const Rows& sink,
                 const FirstRow& first_row) {
  for (std::int64_t column = 0; column < dim; column += kPanel) {
    for_row_groups(0, keys, [&](auto group, std::int64_t key) {
      const std::int64_t first = first_row(key);
      const Rows to{sink.at(key) + column, sink.stride};
      for_panel_sums<group.value, true>(weights.at(first) + key, weights.stride, x.at(first) + column, x.stride, rows - first,
                                        [to](int i, std::int64_t lane, Lanes sums) {
                                          float* own = to.at(i) + lane;
                                          multiply_add(Lanes::all(1), sums, Lanes::load(own)).store(own);
                                        });
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
  add_to_keys(weights, rows.count, tile.prefix, x, dim, sinks.prefix, [](std::int64_t) { return 0; });
  add_to_keys({weights.data + tile.prefix, weights.stride}, rows.count, tile.own, x, dim,
              {sinks.all.at(task.item->own.begin), sinks.all.stride},
              [&](std::int64_t key) { return rows.first_that_sees(key); });
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
    const Rows q = rows.gather(all_q, score_scale(dim), 1), scores = score_keys(q, rows, task, keys, dim, 0);
    float* inverses = scratch(4, rows.count);
    for (std::int64_t i = 0; i < rows.count; ++i) {
      const SoftmaxRow found = softmax_row(scores.at(i), rows.visible(i), task.tile.keys());
      lse[rows.head(i) * queries + rows.query(i)] = found.lse, inverses[i] = found.inverse;
    }
    weigh_keys(scores, rows, task, all_v.head(task.kv_head, dim), dim, inverses, all_out);
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
      const Rows p = score_keys(q, rows, task, keys, dim, 0), dp = score_keys(g, rows, task, values, dim, 1);
      for (std::int64_t i = 0; i < rows.count; ++i)
        weight_gradients(p.at(i), dp.at(i), rows.visible(i), task.tile.keys(), lse[rows.head(i) * queries + rows.query(i)],
                         inner_product(g.at(i), rows.of(all_out, i), dim));
      float* scales = scratch(4, rows.count);
      std::fill_n(scales, rows.count, scale);
      weigh_keys(dp, rows, task, k, dim, scales, all_dq);
      add_to_keys(dp, rows, task, q, dim, dk);
      add_to_keys(p, rows, task, g, dim, dv);
    });
  });
  parts.add_sums(all_dk, all_dv);
}

}  // namespace dmoerm::nn::cpu
