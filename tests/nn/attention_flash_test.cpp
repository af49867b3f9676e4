#include "nn/attention_flash.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "nn/attention_generic.h"
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

void expect_generic(const AttentionPlan& plan, std::int64_t queries, std::int64_t keys, at::ScalarType dtype, double limit) {
  const auto options = at::TensorOptions().dtype(dtype).device(test::test_device());
  const std::int64_t q_width = kShape.heads * kShape.head_dim, kv = kShape.kv_heads * kShape.head_dim;
  const at::Tensor all = at::randn({keys, q_width + 2 * kv}, options);  // side by side, as a projection writes them
  const Qkv in{queries == keys ? all.narrow(1, 0, q_width) : at::randn({queries, q_width}, options), all.narrow(1, q_width, kv),
               all.narrow(1, q_width + kv, kv)};
  const at::Tensor dout = at::randn({queries, q_width}, options);
  const auto floats = options.dtype(at::kFloat);
  const Qkv expected_d{at::empty({queries, q_width}, floats), at::zeros({keys, kv}, floats), at::zeros({keys, kv}, floats)};
  const Attended expected = generic::attention(in, plan);
  generic::attention_backward(dout, in, expected, plan, expected_d);

  const Attended found = flash::attention(in, plan);
  const auto parts = flash::attention_backward(dout, in, found, plan);
  const auto sum = [&](const at::Tensor Qkv::*member) {
    return parts[1].q.defined() ? (parts[0].*member).to(at::kFloat) + parts[1].*member : parts[0].*member;
  };
  EXPECT_EQ(found.out.scalar_type(), dtype);
  EXPECT_LT(error(found.out, expected.out), limit);
  EXPECT_LT(error(found.lse_HT, expected.lse_HT), limit);
  EXPECT_LT(error(sum(&Qkv::q), expected_d.q), limit);
  EXPECT_LT(error(sum(&Qkv::k_TC), expected_d.k_TC), limit);
  EXPECT_LT(error(sum(&Qkv::v_TC), expected_d.v_TC), limit);
}

class FlashAttention : public testing::TestWithParam<std::tuple<at::ScalarType, data::PackingRule, bool>> {};

TEST_P(FlashAttention, EqualsTheGenericWay) {
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
    expect_generic(with_offsets(plan, queries, tokens), queries, tokens, dtype, dtype == at::kFloat ? 4e-6 : 1e-2);
  }
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
