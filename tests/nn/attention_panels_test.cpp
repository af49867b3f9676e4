// Attention over panels: its gradients are those of ATen's operations, and have the same bits on any number of threads and
// whatever is beside their group.
#include "nn/attention_panels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>

#include "data/packed_batch.h"
#include "nn/attention.h"
#include "nn/attention_generic.h"

namespace dmoerm::nn {
namespace {

/// Groups by the tokens of their prompt (0: none) and of their responses.
using Lengths = std::vector<std::pair<std::int32_t, std::vector<std::int32_t>>>;

AttentionPlan plan_of(const Lengths& groups, const HeadShape& shape, bool causal) {
  AttentionPlan plan{{}, shape, causal, {}};
  std::int32_t rows = 0;
  const auto take = [&](std::int32_t length) {
    rows += length;
    return data::Span{rows - length, length};
  };
  for (const auto& [prompt, responses] : groups) {
    AttentionCluster& cluster = plan.clusters.emplace_back();
    const data::Span prefix = take(prompt);
    if (prompt > 0) cluster.push_back({prefix.begin, prompt, {}, prefix});
    for (const std::int32_t length : responses) {
      const data::Span own = take(length);
      cluster.push_back({own.begin, length, prefix, own});
    }
  }
  return plan;
}

struct Inputs {
  Qkv in;
  at::Tensor dout;
};

/// Rows of queries, keys and values side by side, as a projection writes them.
Inputs inputs_of(std::int64_t rows, const HeadShape& shape) {
  at::manual_seed(11);
  const std::int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  const at::Tensor all = at::randn({rows, q + 2 * kv});
  return {{all.narrow(1, 0, q), all.narrow(1, q, kv), all.narrow(1, q + kv, kv)}, at::randn({rows, q})};
}

/// Attention and the gradients in queries, keys and values.
template <class Forward, class Backward>
std::vector<at::Tensor> run(const Inputs& x, const AttentionPlan& plan, const Forward& forward, const Backward& backward) {
  const Qkv d{at::empty(x.in.q.sizes()), at::zeros(x.in.k_TC.sizes()), at::zeros(x.in.v_TC.sizes())};
  const Attended result = forward(x.in, plan);
  backward(x.dout, x.in, result, plan, d);
  return {result.out, d.q, d.k_TC, d.v_TC};
}

// Of one tile and of several, and one that is divided into parts.
const Lengths kGroups = {{37, {5, 1, 9, 20}}, {64, {3, 70}}, {0, {150}}, {330, {60, 60, 60, 60, 61, 60}}, {130, {33, 2}}};
constexpr std::int64_t kRows = 1215;

TEST(AttentionPanels, GiveTheGradientsOfAten) {
  for (const HeadShape& shape : {HeadShape{9, 3, 64}, HeadShape{4, 1, 32}, HeadShape{3, 3, 96}}) {
    for (const bool causal : {true, false}) {
      const AttentionPlan plan = plan_of(kGroups, shape, causal);
      const Inputs x = inputs_of(kRows, shape);
      const std::vector<at::Tensor> found = run(x, plan, cpu::attention_by_panels, cpu::attention_backward_by_panels),
                                    expected = run(x, plan, generic::attention, generic::attention_backward);
      for (std::size_t i = 0; i < found.size(); ++i)
        EXPECT_LT(((found[i] - expected[i]).norm() / expected[i].norm()).item<double>(), 2e-6) << i << " dim " << shape.head_dim;
    }
  }
}

TEST(AttentionPanels, GiveTheSameBitsOnAnyNumberOfThreads) {
  const HeadShape shape{9, 3, 64};
  const AttentionPlan plan = plan_of(kGroups, shape, true);
  const Inputs x = inputs_of(kRows, shape);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const std::vector<at::Tensor> alone = run(x, plan, attention, attention_backward);
  for (const int threads : {2, 3, 4}) {
    at::set_num_threads(threads);
    const std::vector<at::Tensor> found = run(x, plan, attention, attention_backward);
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i].equal(alone[i])) << i << " on " << threads;
  }
  at::set_num_threads(before);
}

TEST(AttentionPanels, GiveAGroupTheSameBitsWhateverIsBesideIt) {
  const HeadShape shape{9, 3, 64};
  const Inputs x = inputs_of(kRows, shape);
  const std::vector<at::Tensor> all =
      run(x, plan_of(kGroups, shape, true), cpu::attention_by_panels, cpu::attention_backward_by_panels);
  std::int64_t first = 0;
  for (const auto& group : kGroups) {
    std::int64_t rows = group.first;
    for (const std::int32_t length : group.second) rows += length;
    const auto own = [&](const at::Tensor& of) { return of.narrow(0, first, rows); };
    const Inputs part{{own(x.in.q), own(x.in.k_TC), own(x.in.v_TC)}, own(x.dout)};
    const std::vector<at::Tensor> found =
        run(part, plan_of({group}, shape, true), cpu::attention_by_panels, cpu::attention_backward_by_panels);
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i].equal(own(all[i]))) << i << " from row " << first;
    first += rows;
  }
  EXPECT_EQ(first, kRows);
}

/// A prompt of 3,001 tokens, of which plan_read_rows() asks for each response's last token only.
struct ReadRows {
  ReadRows(std::int32_t responses, const HeadShape& shape) {
    const std::vector<std::int32_t> ids(3001, 1);
    data::TokenGroup group;
    group.prefix = ids, group.prompt_tokens = std::ssize(ids);
    std::vector<std::int32_t> which;
    for (std::int32_t r = 0; r < responses; ++r) {
      group.responses.push_back(std::span(ids).first(static_cast<std::size_t>(20 + r % 30)));
      which.push_back(r);
    }
    data::PackedBatch batch;
    data::append_group(batch, group, which, data::PackingRule::causal);
    data::append_sequence(batch, group.responses.front(), data::PackingRule::causal);  // of another group, without a prompt
    plan = plan_read_rows(batch, data::PackingRule::causal, shape);
    rows = batch.tokens();
    at::manual_seed(12);
    const std::int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
    const at::Tensor keys = at::randn({rows, 2 * kv});
    x = {{at::randn({responses + 1, q}), keys.narrow(1, 0, kv), keys.narrow(1, kv, kv)}, at::randn({responses + 1, q})};
  }

  AttentionPlan plan;
  std::int64_t rows = 0;
  Inputs x;
};

/// Attention of single queries and its gradients, by autograd in float64.
std::vector<at::Tensor> in_float64(const ReadRows& of) {
  const HeadShape& shape = of.plan.shape;
  const auto leaf = [](const at::Tensor& t) { return t.to(at::kDouble).contiguous().requires_grad_(true); };
  const at::Tensor q = leaf(of.x.in.q), k = leaf(of.x.in.k_TC), v = leaf(of.x.in.v_TC);
  const at::Tensor hidden = at::ones({q.size(0), of.rows}, at::kBool);
  for (const AttentionCluster& cluster : of.plan.clusters) {
    for (const AttentionItem& item : cluster) {
      for (const data::Span& seen : {item.prefix, item.own})
        hidden.select(0, item.q_begin).narrow(0, seen.begin, seen.length).fill_(false);
    }
  }
  const auto heads_of = [&](const at::Tensor& t, std::int64_t heads) {
    return t.view({t.size(0), heads, -1}).repeat_interleave(shape.heads / heads, 1).transpose(0, 1);
  };
  const at::Tensor scores = at::matmul(heads_of(q, shape.heads), heads_of(k, shape.kv_heads).transpose(1, 2)) /
                            std::sqrt(static_cast<double>(shape.head_dim));
  const at::Tensor p = at::softmax(scores.masked_fill(hidden, -std::numeric_limits<double>::infinity()), -1);
  const at::Tensor out = at::matmul(p, heads_of(v, shape.kv_heads)).transpose(0, 1).reshape(q.sizes());
  out.backward(of.x.dout.to(at::kDouble));
  return {out.detach(), q.grad(), k.grad(), v.grad()};
}

// In a backward pass these are one part, two and four: a part has 100,000 pairs of query and key or more.
constexpr std::int32_t kResponses[] = {40, 70, 140};

TEST(AttentionPanels, GiveTheGradientsOfReadRowsUnderALongPrompt) {
  for (const HeadShape& shape : {HeadShape{4, 2, 32}, HeadShape{3, 1, 64}}) {
    for (const std::int32_t responses : kResponses) {
      const ReadRows of(responses, shape);
      const std::vector<at::Tensor> found = run(of.x, of.plan, cpu::attention_by_panels, cpu::attention_backward_by_panels),
                                    expected = in_float64(of);
      for (std::size_t i = 0; i < found.size(); ++i)
        EXPECT_LT(((found[i].to(at::kDouble) - expected[i]).norm() / expected[i].norm()).item<double>(), 5e-6)
            << i << " of " << responses << " responses, dim " << shape.head_dim;
    }
  }
}

TEST(AttentionPanels, GiveTheSameBitsOfReadRowsOnAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const std::int32_t responses : kResponses) {
    const ReadRows of(responses, {9, 3, 64});
    at::set_num_threads(1);
    const std::vector<at::Tensor> alone = run(of.x, of.plan, cpu::attention_by_panels, cpu::attention_backward_by_panels);
    for (const int threads : {2, 3, 4}) {
      at::set_num_threads(threads);
      const std::vector<at::Tensor> found = run(of.x, of.plan, cpu::attention_by_panels, cpu::attention_backward_by_panels);
      for (std::size_t i = 0; i < found.size(); ++i)
        EXPECT_TRUE(found[i].equal(alone[i])) << i << " of " << responses << " responses on " << threads;
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace dmoerm::nn
