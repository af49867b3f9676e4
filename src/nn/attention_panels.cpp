#include "nn/attention_panels.h"

#include <ATen/ops/empty.h>

#include "nn/attention_tiles.h"
#include "nn/panel_sum.h"

namespace dmoerm::nn::cpu {
namespace {

/// The keys of each span of a plan in panels [panels, head_dim, kPanel] for each key head.
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
      for (std::int64_t c = 0; c < count; ++c) {
        const float* key = keys.at(span.begin + begin + c);
        for (std::int64_t d = 0; d < dim_; ++d) to[d * kPanel + c] = key[d];
      }
    }
  }

  std::int64_t dim_, panels_ = 0;
  std::vector<std::int64_t> first_;  ///< Number of the first panel of the span that begins at a row
  at::Tensor keys_;
};

/// scores[rows, keys] of a tile from column `column` on: those of `count` keys in panels.
void score_keys(const Rows& q, std::int64_t rows, const float* panels, std::int64_t count, std::int64_t dim, const Rows& scores,
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

}  // namespace

Attended attention_by_panels(const Qkv& in, const AttentionPlan& plan) {
  const HeadShape& shape = plan.shape;
  const std::int64_t dim = shape.head_dim, queries = in.q.size(0), repeat = shape.heads / shape.kv_heads;
  Attended result{at::empty({queries, shape.heads * dim}, in.q.options()), at::empty({shape.heads, queries}, in.q.options())};
  const Rows all_q = rows_of(in.q), all_v = rows_of(in.v_TC), all_out = rows_of(result.out);
  const KeyPanels keys(plan, in.k_TC);
  float* lse = result.lse_HT.data_ptr<float>();
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  for_each_in_turn(forward_tasks(plan), [&](const ForwardTask& task) {
    const Tile& tile = task.tile;
    const AttentionItem& item = *task.item;
    const std::int64_t rows = repeat * tile.count, first_row = item.q_begin + tile.first, first_head = task.kv_head * repeat;
    const auto of_head = [&](const Rows& all, std::int64_t i) {
      return all.head(first_head + i / tile.count, dim).at(first_row + i % tile.count);
    };
    // The heads' queries one under the other, so that one product has enough rows.
    const Rows q{scratch(1, rows * dim), dim}, scores{scratch(0, rows * tile.keys()), tile.keys()};
    for (std::int64_t i = 0; i < rows; ++i) {
      const float* own = of_head(all_q, i);
#pragma omp simd
      for (std::int64_t d = 0; d < dim; ++d) q.at(i)[d] = own[d] * scale;
    }
    if (tile.prefix > 0) score_keys(q, rows, keys.of(item.prefix, task.kv_head), tile.prefix, dim, scores, 0);
    score_keys(q, rows, keys.of(item.own, task.kv_head), tile.own, dim, scores, tile.prefix);
    for (std::int64_t i = 0; i < rows; ++i)
      lse[(first_head + i / tile.count) * queries + first_row + i % tile.count] =
          softmax_row(scores.at(i), tile.visible(i % tile.count), tile.keys());
    const Rows v = all_v.head(task.kv_head, dim);
    for (std::int64_t column = 0; column < dim; column += kPanel) {
      for_row_groups(0, rows, [&](auto group, std::int64_t row) {
        alignas(64) float prefix[group.value][kPanel], own[group.value][kPanel];
        sum_panel<group.value>(scores.at(row), scores.stride, v.at(item.prefix.begin) + column, v.stride, tile.prefix, prefix);
        sum_panel<group.value>(scores.at(row) + tile.prefix, scores.stride, v.at(item.own.begin) + column, v.stride, tile.own,
                               own);
        for (int i = 0; i < group.value; ++i) {
          float* out = of_head(all_out, row + i) + column;
#pragma omp simd
          for (std::int64_t c = 0; c < kPanel; ++c) out[c] = prefix[i][c] + own[i][c];
        }
      });
    }
  });
  return result;
}

}  // namespace dmoerm::nn::cpu
