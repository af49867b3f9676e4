#include "nn/attention_flash.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "nn/attention_parts.h"
#include "support/test_device.h"

namespace dmoerm::nn {
namespace {

constexpr HeadShape kShape{12, 2, 128};

/// Groups by the tokens of their prefix and of their responses.
using Lengths = std::vector<std::pair<std::int64_t, std::vector<std::int64_t>>>;

data::PackedBatch batch_of(const Lengths& groups, data::PackingRule rule) {
  const std::vector<std::int32_t> ids(512, 1);
  data::PackedBatch batch;
  for (const auto& [prefix, responses] : groups) {
    data::TokenGroup group;
    group.prefix = std::span(ids).first(static_cast<std::size_t>(prefix));
    std::vector<std::int32_t> all;
    for (const std::int64_t length : responses) {
      all.push_back(static_cast<std::int32_t>(all.size()));
      group.responses.emplace_back(std::span(ids).first(static_cast<std::size_t>(length)));
    }
    data::append_group(batch, group, all, rule);
  }
  return batch;
}

AttentionPlan with_offsets(AttentionPlan plan, std::int64_t queries, std::int64_t keys) {
  const flash::PlanOffsets offsets = flash::offsets_of(plan, queries, keys);
  const auto sequences = [&](const flash::Offsets& call) -> Sequences {
    const auto sent = [&](const std::vector<std::int32_t>& list) { return at::tensor(list, at::kInt).to(test::test_device()); };
    return {sent(call.q), sent(call.k), call.q_longest, call.k_longest};
  };
  plan.sequences = {sequences(offsets.own), offsets.prefixed ? sequences(offsets.prefix) : Sequences{}};
  return plan;
}

double error(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor e = expected.to(at::kDouble);
  return ((found.to(at::kDouble) - e).norm() / e.norm()).item<double>();
}

/// Rows of random numbers in the middle of a buffer of NaN: a result shows whether anything beside them was read.
at::Tensor among_nan(std::int64_t rows, std::int64_t width, const at::TensorOptions& options) {
  constexpr std::int64_t kBeside = 64;
  const at::Tensor buffer = at::full({rows + 2 * kBeside, width + 2 * kBeside}, std::nan(""), options);
  const at::Tensor x = buffer.narrow(0, kBeside, rows).narrow(1, kBeside, width);
  x.copy_(at::randn({rows, width}, options));
  return x;
}

/// Queries, keys and values side by side, as a projection writes them, unless there are fewer queries.
Qkv random_qkv(std::int64_t queries, std::int64_t keys, const at::TensorOptions& options) {
  const std::int64_t q_width = kShape.heads * kShape.head_dim, kv = kShape.kv_heads * kShape.head_dim;
  const at::Tensor all = among_nan(keys, q_width + 2 * kv, options);
  return {queries == keys ? all.narrow(1, 0, q_width) : among_nan(queries, q_width, options), all.narrow(1, q_width, kv),
          all.narrow(1, q_width + kv, kv)};
}

/// Which keys each query of a plan sees, [queries, keys].
at::Tensor seen_keys(const AttentionPlan& plan, std::int64_t queries, std::int64_t keys) {
  at::Tensor seen = at::zeros({queries, keys}, at::kBool);
  for (const AttentionCluster& cluster : plan.clusters) {
    for (const AttentionItem& item : cluster) {
      const at::Tensor rows = seen.narrow(0, item.q_begin, item.q_count);
      rows.narrow(1, item.prefix.begin, item.prefix.length).fill_(true);
      const at::Tensor own = at::ones({item.q_count, item.own.length}, at::kBool);
      rows.narrow(1, item.own.begin, item.own.length).copy_(plan.causal ? own.tril(item.own.length - item.q_count) : own);
    }
  }
  return seen;
}

/// Attention and its gradients.
struct WithGradients {
  Attended result;
  Qkv d;
};

/// By the formulas, in float64 on the CPU, each head over all keys under a mask.
WithGradients in_float64(const Qkv& in, const at::Tensor& dout, const AttentionPlan& plan) {
  const std::int64_t queries = in.q.size(0), keys = in.k_TC.size(0), d = kShape.head_dim;
  const auto wide = [](const at::Tensor& x) { return x.to(at::kCPU, at::kDouble); };
  const at::Tensor q = wide(in.q), k = wide(in.k_TC), v = wide(in.v_TC), g = wide(dout);
  const at::Tensor hidden = seen_keys(plan, queries, keys).logical_not();
  const double scale = 1.0 / std::sqrt(static_cast<double>(d));
  WithGradients found{{at::zeros_like(q), at::zeros({kShape.heads, queries}, at::kDouble)},
                      {at::zeros_like(q), at::zeros_like(k), at::zeros_like(v)}};
  for (std::int64_t h = 0; h < kShape.heads; ++h) {
    const auto of_q = [&](const at::Tensor& x) { return x.narrow(1, h * d, d); };
    const auto of_k = [&](const at::Tensor& x) { return x.narrow(1, h / (kShape.heads / kShape.kv_heads) * d, d); };
    const at::Tensor scores =
        (at::mm(of_q(q), of_k(k).t()) * scale).masked_fill(hidden, -std::numeric_limits<double>::infinity());
    const at::Tensor p = at::softmax(scores, -1), out = at::mm(p, of_k(v));
    const at::Tensor ds = p * (at::mm(of_q(g), of_k(v).t()) - (of_q(g) * out).sum(-1, true)) * scale;
    of_q(found.result.out).copy_(out);
    found.result.lse_HT.select(0, h).copy_(at::logsumexp(scores, {-1}));
    of_q(found.d.q).copy_(at::mm(ds, of_k(k)));
    of_k(found.d.k_TC).add_(at::mm(ds.t(), of_q(q)));
    of_k(found.d.v_TC).add_(at::mm(p.t(), of_q(g)));
  }
  return found;
}

/// Both calls' gradients, added in float32 as combine_gradients() adds them.
Qkv sum_of(const std::array<Qkv, 2>& parts) {
  const auto sum = [&](const at::Tensor Qkv::*member) {
    return parts[1].q.defined() ? (parts[0].*member).to(at::kFloat) + parts[1].*member : parts[0].*member;
  };
  return {sum(&Qkv::q), sum(&Qkv::k_TC), sum(&Qkv::v_TC)};
}

WithGradients by_flash(const Qkv& in, const at::Tensor& dout, const AttentionPlan& plan) {
  const Attended result = flash::attention(in, plan);
  return {result, sum_of(flash::attention_backward(dout, in, result, plan))};
}

/// How far flash attention may be from float64 on the same inputs, in the norm of a result.
struct Limits {
  double out, lse, gradient;
};
/// Bfloat16 keeps 8 bits: rounding moves a number by at most 2^-9 of it, and the norm of many by 2^-9 / sqrt(3). The result is
/// rounded three times on its way (probabilities, each call's half, the merged half), which makes 2^-9 in the sum of squares, and
/// twice that is allowed. A gradient is rounded three times more, and its slopes are differences, which lose up to half of their
/// size where a query sees few keys; three times as much is allowed. Log-sum-exps stay in float32.
constexpr Limits kInFloat{4e-6, 4e-6, 4e-6}, kInBFloat16{1.0 / 256, 1e-5, 3.0 / 256};

void expect_float64(const AttentionPlan& plan, std::int64_t queries, std::int64_t keys, at::ScalarType dtype) {
  const auto options = at::TensorOptions().dtype(dtype).device(test::test_device());
  const Qkv in = random_qkv(queries, keys, options);
  const at::Tensor dout = at::randn({queries, kShape.heads * kShape.head_dim}, options);
  const WithGradients expected = in_float64(in, dout, plan), found = by_flash(in, dout, plan), again = by_flash(in, dout, plan);
  const Limits& limits = dtype == at::kFloat ? kInFloat : kInBFloat16;
  EXPECT_EQ(found.result.out.scalar_type(), dtype);
  EXPECT_LT(error(found.result.out, expected.result.out), limits.out);
  EXPECT_LT(error(found.result.lse_HT, expected.result.lse_HT), limits.lse);
  for (const auto member : {&Qkv::q, &Qkv::k_TC, &Qkv::v_TC}) {
    EXPECT_LT(error(found.d.*member, expected.d.*member), limits.gradient);
    EXPECT_TRUE(at::equal(found.d.*member, again.d.*member)) << "the same backward pass gives other bits";
  }
  EXPECT_TRUE(at::equal(found.result.out, again.result.out));
}

class FlashAttention : public testing::TestWithParam<std::tuple<at::ScalarType, data::PackingRule, bool>> {};

TEST_P(FlashAttention, EqualsFloat64OnTheSameInputsAndRepeatsItsBits) {
  const auto [dtype, rule, reads] = GetParam();
  if (test::test_device().is_cuda() && dtype == at::kFloat) GTEST_SKIP() << "the kernels take no float32";
  at::manual_seed(1);
  const Lengths some = {{37, {5, 1, 9, 20}}, {64, {3, 70}}, {0, {50}}, {2, {1, 1}}, {128, {128, 2}}};
  Lengths experts = some;  // three experts have the same groups in one batch
  experts.insert(experts.end(), some.begin(), some.end());
  experts.insert(experts.end(), some.begin(), some.begin() + 2);
  for (const Lengths& groups : {some, experts, Lengths{{0, {7}}, {0, {1}}}, Lengths{{1, {1}}}}) {
    const data::PackedBatch batch = batch_of(groups, rule);
    const std::int64_t tokens = batch.tokens(), queries = reads ? std::ssize(batch.responses) : tokens;
    const AttentionPlan plan = reads ? plan_read_rows(batch, rule, kShape) : plan_all_rows(batch, rule, kShape);
    expect_float64(with_offsets(plan, queries, tokens), queries, tokens, dtype);
  }
}

TEST_P(FlashAttention, RowsOutsideThePlanLeakIntoNothing) {
  const auto [dtype, rule, reads] = GetParam();
  if (test::test_device().is_cuda() && dtype == at::kFloat) GTEST_SKIP() << "the kernels take no float32";
  if (reads) GTEST_SKIP() << "a read row is a query of its own";
  at::manual_seed(3);
  // The plan leaves the second group out. Its rows lie in tiles of the kernels together with those of the others.
  const Lengths groups = {{37, {5, 20}}, {64, {9, 3}}, {2, {1, 40}}};
  const data::PackedBatch batch = batch_of(groups, rule);
  const std::int64_t begin = batch_of({groups[0]}, rule).tokens(), count = batch_of({groups[1]}, rule).tokens(),
                     tokens = batch.tokens();
  AttentionPlan plan = plan_all_rows(batch, rule, kShape);
  for (AttentionCluster& cluster : plan.clusters)
    std::erase_if(cluster, [&](const AttentionItem& item) { return item.q_begin >= begin && item.q_begin < begin + count; });
  std::erase_if(plan.clusters, [](const AttentionCluster& cluster) { return cluster.empty(); });
  plan = with_offsets(plan, tokens, tokens);
  const auto options = at::TensorOptions().dtype(dtype).device(test::test_device());
  const Qkv in = random_qkv(tokens, tokens, options);
  const at::Tensor dout = at::randn({tokens, kShape.heads * kShape.head_dim}, options);
  const auto with_outside = [&](double value) {
    for (const at::Tensor& x : {in.q, in.k_TC, in.v_TC, dout}) x.narrow(0, begin, count).fill_(value);
    return by_flash(in, dout, plan);
  };
  const WithGradients expected = with_outside(0), found = with_outside(std::nan(""));
  const auto inside = [&](const at::Tensor& x) {
    return at::cat({x.narrow(0, 0, begin), x.narrow(0, begin + count, tokens - begin - count)});
  };
  EXPECT_TRUE(at::equal(inside(found.result.out), inside(expected.result.out)));
  EXPECT_TRUE(at::equal(inside(found.result.lse_HT.t()), inside(expected.result.lse_HT.t())));
  for (const auto member : {&Qkv::q, &Qkv::k_TC, &Qkv::v_TC})
    EXPECT_TRUE(at::equal(inside(found.d.*member), inside(expected.d.*member)));
  EXPECT_TRUE(inside(found.d.k_TC).isfinite().all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Kinds, FlashAttention,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Values(data::PackingRule::causal, data::PackingRule::bidirectional),
                                          testing::Bool()));

TEST(FlashOffsets, CoverAllRowsAndLeaveOutWhatACallDoesNotSee) {
  // Rows: prefix 0-3, responses 4-5 and 6-8; a group without a prefix 9-10.
  const data::PackedBatch batch = batch_of({{4, {2, 3}}, {0, {2}}}, data::PackingRule::causal);
  const auto offsets = flash::offsets_of(plan_all_rows(batch, data::PackingRule::causal, kShape), 11, 11);
  EXPECT_EQ(offsets.own.q, (std::vector<std::int32_t>{0, 4, 6, 9, 11}));
  EXPECT_EQ(offsets.own.k, offsets.own.q);
  ASSERT_TRUE(offsets.prefixed);
  EXPECT_EQ(offsets.prefix.q, (std::vector<std::int32_t>{0, 4, 9, 11, 11}));  // the prefix's own rows see no key,
  EXPECT_EQ(offsets.prefix.k, (std::vector<std::int32_t>{0, 0, 4, 4, 11}));   // and nobody sees the responses' keys
  EXPECT_EQ(offsets.prefix.q_longest, 5);
  EXPECT_EQ(offsets.prefix.k_longest, 7);
  const auto single = flash::offsets_of(plan_read_rows(batch, data::PackingRule::causal, kShape), 3, 11);
  EXPECT_EQ(single.own.q_longest, 2) << "libtorch takes another path with 1";
}

TEST(FlashAttention, GradientsOfBothCallsAreAddedAndRotatedBackIntoOneBuffer) {
  at::manual_seed(2);
  const auto options = at::TensorOptions().dtype(at::kBFloat16).device(test::test_device());
  const auto part = [&] { return Qkv{at::randn({9, 32}, options), at::randn({9, 16}, options), at::randn({9, 16}, options)}; };
  const std::array<Qkv, 2> both = {part(), part()};
  const at::Tensor angles = at::randn({9, 4}, options.dtype(at::kFloat));
  const Turns turns{angles.cos(), angles.sin()};
  const at::Tensor all = at::empty({9, 64}, options);
  const Qkv d{all.narrow(1, 0, 32), all.narrow(1, 32, 16), all.narrow(1, 48, 16)};
  for (const bool prefixed : {true, false}) {
    combine_gradients({both[0], prefixed ? both[1] : Qkv{}}, turns, turns, d);
    const auto expected = [&](const at::Tensor Qkv::*member, bool rotated) {
      at::Tensor sum = (both[0].*member).to(at::kDouble);
      if (prefixed) sum += both[1].*member;
      if (!rotated) return sum;
      const at::Tensor x = sum.view({9, -1, 2, 4}), a = x.select(2, 0), b = x.select(2, 1);
      const at::Tensor c = turns.cos.unsqueeze(1), s = turns.sin.unsqueeze(1);
      return at::stack({a * c + b * s, b * c - a * s}, 2).flatten(1);
    };
    EXPECT_LT(error(d.q, expected(&Qkv::q, true)), 4e-3);
    EXPECT_LT(error(d.k_TC, expected(&Qkv::k_TC, true)), 4e-3);
    EXPECT_LT(error(d.v_TC, expected(&Qkv::v_TC, false)), 4e-3);
  }
}

TEST(FlashAttention, AddsInAFixedOrderInEveryThreadAndLeavesTheSettingAsItWas) {
  constexpr int kThreads = 4, kRounds = 200;
  const auto dtype = test::test_device().is_cuda() ? at::kBFloat16 : at::kFloat;
  const data::PackedBatch batch = batch_of({{2, {1, 1}}}, data::PackingRule::causal);
  const AttentionPlan plan = with_offsets(plan_all_rows(batch, data::PackingRule::causal, {2, 1, 8}), 4, 4);
  const auto options = at::TensorOptions().dtype(dtype).device(test::test_device());
  const auto draw = [&](std::int64_t width) { return at::randn({4, width}, options); };
  const Qkv in{draw(16), draw(8), draw(8)};
  const at::Tensor dout = draw(16);
  const Attended result = flash::attention(in, plan);
  std::vector<std::string> said(kThreads);
  std::vector<std::thread> threads;
  for (std::string& problem : said) {
    threads.emplace_back([&] {
      try {
        for (int round = 0; round < kRounds; ++round) flash::attention_backward(dout, in, result, plan);
      } catch (const std::exception& e) {
        problem = e.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(said, std::vector<std::string>(kThreads));
  EXPECT_FALSE(at::globalContext().deterministicAlgorithms()) << "it would cost every other operation";
}

TEST(FlashAttention, IsForNarrowTypesOnGpus) {
  const data::PackedBatch batch = batch_of({{4, {2}}}, data::PackingRule::causal);
  const AttentionPlan plan = with_offsets(plan_all_rows(batch, data::PackingRule::causal, kShape), 6, 6);
  EXPECT_FALSE(flash::takes(at::zeros({6, 1536}, at::kBFloat16), plan));
}

}  // namespace
}  // namespace dmoerm::nn
