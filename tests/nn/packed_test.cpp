// Packed = unpacked, shared prefix = unshared, hand-written loops = ATen, and every gradient = finite differences.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <stdexcept>

#include "base/rng.h"
#include "nn/attention_cpu.h"
#include "nn/attention_generic.h"
#include "nn/backbone.h"
#include "nn/ops.h"
#include "nn/pairwise_loss.h"
#include "support/expert.h"

namespace dmoerm::nn {
namespace {

using test::Expert;

BackboneSpec tiny_spec(Family family, HeadReads reads = HeadReads::last) {
  BackboneSpec spec;
  spec.family = family;
  spec.head_reads = reads;
  spec.vocab = 50;
  spec.width = 24;
  spec.intermediate = 40;
  spec.layers = 3;
  spec.heads = 6;
  spec.kv_heads = 2;
  spec.head_dim = 4;
  spec.max_positions = 400;
  spec.norm_eps = 1e-5;
  spec.qk_norm = family == Family::qwen3;
  spec.qkv_bias = family == Family::qwen2;
  if (family == Family::bert) {
    spec.kv_heads = spec.heads;
    spec.type_vocab = 2;
    spec.norm_eps = 1e-12;
    spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
  }
  return spec;
}

Backbone tiny_backbone(Family family, HeadReads reads = HeadReads::last) {
  const BackboneSpec spec = tiny_spec(family, reads);
  Weights weights(spec, test::test_device());
  at::manual_seed(3);
  for (const auto& [name, slot] : weights.named()) {
    slot.copy_(at::randn(slot.sizes()) * (slot.dim() == 1 ? 0.2 : 1.0 / std::sqrt(static_cast<double>(slot.size(-1)))));
    if (name.find("norm") != std::string::npos || name.find("LayerNorm.weight") != std::string::npos) slot.add_(1.0);
  }
  return {spec, std::move(weights)};
}

Expert random_expert(const BackboneSpec& spec, std::uint64_t seed, double dropout = 0.0) {
  Expert expert(spec, {4, 8.0, dropout});
  at::manual_seed(seed);
  expert.flat.copy_(at::randn(expert.flat.sizes()) * 0.2);
  return expert;
}

/// Token ids of groups; the views of TokenGroup point into it.
struct Texts {
  std::vector<std::int32_t> prefix;
  std::vector<std::vector<std::int32_t>> responses;
  /// Two tokens of a prefix are those of the responses that all begin alike.
  [[nodiscard]] std::int64_t prompt_tokens() const { return std::max<std::int64_t>(0, std::ssize(prefix) - 2); }
  [[nodiscard]] data::TokenGroup group() const {
    data::TokenGroup g;
    g.prompt_tokens = prompt_tokens();
    g.prefix = prefix;
    for (const auto& r : responses) g.responses.emplace_back(r);
    return g;
  }
};

std::vector<Texts> random_groups(std::uint64_t seed) {
  Rng rng(seed, "groups");
  std::vector<Texts> groups;
  const std::vector<std::pair<int, std::vector<int>>> lengths = {{5, {3, 1, 7}}, {0, {4, 6}}, {90, {2, 130, 70, 1}}, {1, {1, 1}}};
  for (const auto& [prefix, responses] : lengths) {
    Texts texts;
    const auto draw = [&](int n) {
      std::vector<std::int32_t> ids;
      for (int i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(rng.below(50)));
      return ids;
    };
    texts.prefix = draw(prefix);
    for (int n : responses) texts.responses.push_back(draw(n));
    groups.push_back(texts);
  }
  return groups;
}

std::vector<std::int32_t> all_of(const data::TokenGroup& group) {
  std::vector<std::int32_t> indices(group.responses.size());
  for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<std::int32_t>(i);
  return indices;
}

data::PackedBatch pack(const std::vector<Texts>& groups, const Backbone& backbone) {
  data::PackedBatch batch;
  for (const Texts& texts : groups) append_group(batch, texts.group(), all_of(texts.group()), backbone.packing());
  return batch;
}

/// One group whose responses share nothing.
data::PackedBatch pack_apart(const Texts& texts, const Backbone& backbone) {
  data::PackedBatch batch;
  for (const std::vector<std::int32_t>& response : texts.responses) {
    std::vector<std::int32_t> ids = texts.prefix;
    ids.insert(ids.end(), response.begin(), response.end());
    data::append_sequence(batch, ids, backbone.packing());
    batch.responses.back().prompt = static_cast<std::int32_t>(texts.prompt_tokens());
  }
  batch.group_ends = {static_cast<std::int32_t>(texts.responses.size())};
  return batch;
}

/// Rewards and all gradients of the mean of the groups' losses.
struct Step {
  double loss = 0;
  at::Tensor rewards, expert_gradient, weight_gradient;
  std::size_t kept = 0;
};

std::vector<preference::Preference> all_pairs(std::int32_t n) {
  std::vector<preference::Preference> pairs;
  for (std::int32_t i = 0; i < n; ++i) {
    for (std::int32_t j = i + 1; j < n; ++j) pairs.push_back({i, j, 0.1F});
  }
  return pairs;
}

/// Bytes that a forward pass keeps for its layers, counting each storage once.
std::size_t kept_bytes(const ForwardState& keep) {
  std::map<const void*, std::size_t> storages;
  for (const LayerSaved& s : keep.layers) {
    for (const at::Tensor* t :
         {&s.x_TD, &s.qkv.q, &s.qkv.k_TC, &s.qkv.v_TC, &s.qk_raw, &s.attended.out, &s.attended.lse_HT, &s.h, &s.up, &s.rstd1,
          &s.rstd2, &s.stats1.mean_T, &s.stats1.rstd_T, &s.stats2.mean_T, &s.stats2.rstd_T, &s.sum1, &s.sum2}) {
      if (t->defined()) storages[t->storage().data()] = t->storage().nbytes();
    }
  }
  std::size_t bytes = 0;
  for (const auto& [data, size] : storages) bytes += size;
  return bytes;
}

Step packed_step(const Backbone& backbone, const Expert& expert, const data::PackedBatch& batch, std::uint64_t dropout_key = 0,
                 bool recompute = false) {
  Step step;
  const AdapterRows rows{&expert.adapter, 0, batch.tokens(), 0, static_cast<std::int64_t>(batch.responses.size()), dropout_key};
  ForwardState keep;
  keep.recompute = recompute;
  const at::Tensor states = backbone.forward(batch, {&rows, 1}, &keep);
  step.kept = kept_bytes(keep);
  step.rewards = expert.head.rewards(states).cpu();
  at::Tensor push = at::zeros_like(step.rewards);
  std::int32_t begin = 0;
  for (const std::int32_t end : batch.group_ends) {
    const auto n = static_cast<std::size_t>(end - begin);
    step.loss += pairwise_loss({step.rewards.data_ptr<float>() + begin, n}, all_pairs(end - begin), 1.0,
                               {push.data_ptr<float>() + begin, n});
    begin = end;
  }
  Expert gradient(backbone.spec(), expert.adapter.lora());
  Weights weights(backbone.spec(), backbone.device());
  const at::Tensor push_R = push.to(states.device());
  gradient.head.w_D.copy_(at::mv(states.t(), push_R));
  backbone.backward(at::outer(push_R, expert.head.w_D), keep, {&weights, {&gradient.adapter}});
  step.expert_gradient = gradient.flat;
  step.weight_gradient = weights.flat;
  return step;
}

double largest_gap(const at::Tensor& a, const at::Tensor& b) { return (a.cpu() - b.cpu()).abs().max().item<double>(); }

class PackedBatchOf : public testing::TestWithParam<std::tuple<Family, HeadReads>> {
 protected:
  static Family family() { return std::get<0>(GetParam()); }
  static HeadReads head_reads() { return std::get<1>(GetParam()); }
};

TEST_P(PackedBatchOf, SharesPrefixesWithTheRewardsAndGradientsOfSingleResponses) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  const Expert expert = random_expert(backbone.spec(), 5);
  const std::vector<Texts> groups = random_groups(1);
  const Step packed = packed_step(backbone, expert, pack(groups, backbone));

  std::vector<at::Tensor> rewards;
  at::Tensor expert_gradient = at::zeros_like(packed.expert_gradient), weight_gradient = at::zeros_like(packed.weight_gradient);
  double loss = 0;
  for (const Texts& texts : groups) {
    const Step alone = packed_step(backbone, expert, pack_apart(texts, backbone));
    rewards.push_back(alone.rewards);
    loss += alone.loss;
    expert_gradient += alone.expert_gradient;
    weight_gradient += alone.weight_gradient;
  }
  EXPECT_LT(largest_gap(packed.rewards, at::cat(rewards)), 2e-5);
  EXPECT_NEAR(packed.loss, loss, 1e-4);
  EXPECT_LT(largest_gap(packed.expert_gradient, expert_gradient), 1e-4 * (1 + expert_gradient.abs().max().item<double>()));
  EXPECT_LT(largest_gap(packed.weight_gradient, weight_gradient), 1e-4 * (1 + weight_gradient.abs().max().item<double>()));
  EXPECT_GT(expert_gradient.abs().max().item<double>(), 1e-3);  // not all zeros
}

TEST_P(PackedBatchOf, HeadsReadWhatTheyAreToldOfEachResponse) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  const std::vector<Texts> groups = random_groups(6);
  const at::Tensor states = backbone.forward(pack(groups, backbone), {}, nullptr);
  std::int64_t row = 0;
  for (const Texts& texts : groups) {
    for (const std::vector<std::int32_t>& response : texts.responses) {
      std::vector<std::int32_t> ids = texts.prefix;
      ids.insert(ids.end(), response.begin(), response.end());
      data::PackedBatch alone;
      data::append_sequence(alone, ids, backbone.packing());
      const at::Tensor hidden = backbone.hidden(alone), own = hidden.slice(0, texts.prompt_tokens());
      const at::Tensor expected = head_reads() == HeadReads::mean ? own.mean(0) : hidden[family() == Family::bert ? 0 : -1];
      EXPECT_LT(largest_gap(states[row++], expected), 2e-5);
    }
  }
}

TEST_P(PackedBatchOf, GradientsAgreeWithFiniteDifferences) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  Expert expert = random_expert(backbone.spec(), 6);
  const data::PackedBatch batch = pack({random_groups(2)[0], random_groups(2)[1]}, backbone);
  const Step step = packed_step(backbone, expert, batch);
  const auto check = [&](const at::Tensor& values, const at::Tensor& gradient, const std::string& what) {
    // Along the gradient and one random direction: the slope must be the inner product. Central differences of a float32 loss
    // carry noise.
    at::manual_seed(11);
    for (const at::Tensor& raw : {gradient, at::randn(gradient.sizes()).to(gradient.device())}) {
      const at::Tensor direction = raw / raw.norm();
      const double expected = (gradient.to(at::kDouble) * direction.to(at::kDouble)).sum().item<double>();
      const double h = 2e-3;
      const at::Tensor before = values.clone();
      values.add_(direction, h);
      const double up = packed_step(backbone, expert, batch).loss;
      values.copy_(before).add_(direction, -h);
      const double down = packed_step(backbone, expert, batch).loss;
      values.copy_(before);
      EXPECT_NEAR((up - down) / (2 * h), expected, 0.02 * std::abs(expected) + 3e-3) << what;
    }
  };
  check(expert.flat, step.expert_gradient, "expert");
  for (std::size_t i = 0; i < backbone.weights().named().size(); ++i) {
    const auto& [name, slot] = backbone.weights().named()[i];
    const std::int64_t begin = slot.storage_offset();
    const at::Tensor gradient = step.weight_gradient.narrow(0, begin, slot.numel()).view(slot.sizes());
    if (gradient.abs().max().item<double>() == 0) continue;  // unused rows, key biases
    check(slot, gradient, name);
  }
}

TEST_P(PackedBatchOf, RecomputesLayersWithTheSameBitsFromTheirInputsOnly) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  const Expert expert = random_expert(backbone.spec(), 5, 0.3);
  const data::PackedBatch batch = pack(random_groups(1), backbone);
  const Step kept = packed_step(backbone, expert, batch, 77), again = packed_step(backbone, expert, batch, 77, true);
  EXPECT_TRUE(again.rewards.equal(kept.rewards));
  EXPECT_TRUE(again.expert_gradient.equal(kept.expert_gradient));
  EXPECT_TRUE(again.weight_gradient.equal(kept.weight_gradient));
  EXPECT_LT(again.kept, kept.kept / 2);  // everything of the last layer, and the inputs of two others
}

TEST_P(PackedBatchOf, GivesGradientsPartByPartThroughTwoLayersOfMemory) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  const data::PackedBatch batch = pack(random_groups(1), backbone);
  const auto backward = [&](const BackboneGradients& sinks) {
    ForwardState keep;
    const at::Tensor states = backbone.forward(batch, {}, &keep);
    backbone.backward(at::ones_like(states) * 0.01, keep, sinks);
  };
  Weights whole(backbone.spec(), backbone.device()), shared(backbone.spec(), backbone.device(), 2);
  EXPECT_LT(shared.flat.numel(), whole.flat.numel());
  backward({&whole, {}});
  std::vector<std::size_t> order;
  backward({&shared,
            {},
            [&](std::size_t slice) { shared.slice(slice).zero_(); },
            [&](std::size_t slice) {
              order.push_back(slice);
              EXPECT_TRUE(shared.slice(slice).equal(whole.slice(slice))) << slice;
            }});
  EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
}

TEST_P(PackedBatchOf, LeavesTheBaseModelUnchangedUnderAnAdapterWithZeroB) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  Expert expert(backbone.spec(), {4, 8.0, 0.05});
  expert.adapter.initialise(9);
  const data::PackedBatch batch = pack(random_groups(3), backbone);
  const AdapterRows rows{&expert.adapter, 0, batch.tokens(), 0, static_cast<std::int64_t>(batch.responses.size()), 77};
  EXPECT_EQ(largest_gap(backbone.forward(batch, {&rows, 1}, nullptr), backbone.forward(batch, {}, nullptr)), 0.0);
}

TEST_P(PackedBatchOf, PacksExpertsTogetherWithTheResultsOfEachAlone) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  const Expert one = random_expert(backbone.spec(), 5, 0.3), two = random_expert(backbone.spec(), 8, 0.3);
  const std::vector<Texts> groups = random_groups(4);
  const data::PackedBatch first = pack({groups[0], groups[1]}, backbone), second = pack({groups[2]}, backbone);
  const data::PackedBatch both = pack({groups[0], groups[1], groups[2]}, backbone);
  const auto reads = [](const data::PackedBatch& b) { return static_cast<std::int64_t>(b.responses.size()); };
  const AdapterRows alone_one{&one.adapter, 0, first.tokens(), 0, reads(first), 21},
      alone_two{&two.adapter, 0, second.tokens(), 0, reads(second), 22};
  const AdapterRows fused[2] = {alone_one, {&two.adapter, first.tokens(), second.tokens(), reads(first), reads(second), 22}};
  ForwardState keep, keep_one, keep_two;
  const at::Tensor states = backbone.forward(both, fused, &keep);
  const at::Tensor states_one = backbone.forward(first, {&alone_one, 1}, &keep_one),
                   states_two = backbone.forward(second, {&alone_two, 1}, &keep_two);
  EXPECT_LT(largest_gap(states, at::cat({states_one, states_two})), 2e-5);
  at::manual_seed(4);
  const at::Tensor push = at::randn(states.sizes()).to(states.device());
  Expert g1(backbone.spec(), one.adapter.lora()), g2(backbone.spec(), two.adapter.lora()),
      a1(backbone.spec(), one.adapter.lora()), a2(backbone.spec(), two.adapter.lora());
  backbone.backward(push, keep, {nullptr, {&g1.adapter, &g2.adapter}});
  backbone.backward(push.narrow(0, 0, reads(first)), keep_one, {nullptr, {&a1.adapter}});
  backbone.backward(push.narrow(0, reads(first), reads(second)), keep_two, {nullptr, {&a2.adapter}});
  for (const auto& [together, alone] : {std::pair(g1.flat, a1.flat), std::pair(g2.flat, a2.flat)}) {
    EXPECT_LT(largest_gap(together, alone), 2e-5 * (1 + alone.abs().max().item<double>()));
    EXPECT_GT(alone.abs().max().item<double>(), 0.1);
  }
}

TEST_P(PackedBatchOf, HandWrittenAttentionEqualsAten) {
  const Backbone backbone = tiny_backbone(family(), head_reads());
  const data::PackedBatch batch = pack(random_groups(5), backbone);
  for (const std::int64_t dim : {4, 32, 64}) {  // heads of whole panels go another way than others
    const HeadShape shape{6, family() == Family::bert ? 6 : 2, dim};
    for (const bool reads : {false, true}) {
      const auto plan_rows = reads ? plan_read_rows : plan_all_rows;
      const AttentionPlan plan = plan_rows(batch, backbone.packing(), shape);
      at::manual_seed(5);
      const std::int64_t rows = batch.tokens(), queries = reads ? static_cast<std::int64_t>(batch.responses.size()) : rows;
      const Qkv in{at::randn({queries, 6 * dim}), at::randn({rows, shape.kv_heads * dim}),
                   at::randn({rows, shape.kv_heads * dim})};
      const at::Tensor dout = at::randn({queries, 6 * dim});
      const Attended result = attention(in, plan), expected = generic::attention(in, plan);
      EXPECT_LT(largest_gap(result.out, expected.out), 1e-5);
      EXPECT_LT(largest_gap(result.lse_HT, expected.lse_HT), 1e-5);
      const auto sinks = [&] { return Qkv{at::empty_like(in.q), at::zeros_like(in.k_TC), at::zeros_like(in.v_TC)}; };
      const Qkv d = sinks(), d_expected = sinks();
      attention_backward(dout, in, result, plan, d);
      generic::attention_backward(dout, in, expected, plan, d_expected);
      EXPECT_LT(largest_gap(d.q, d_expected.q), 4e-5);
      EXPECT_LT(largest_gap(d.k_TC, d_expected.k_TC), 4e-5);
      EXPECT_LT(largest_gap(d.v_TC, d_expected.v_TC), 4e-5);
    }
  }
}

TEST_P(PackedBatchOf, AttentionInBfloat16KeepsLargeScoresApart) {
  // Keys far from zero, like Qwen2's: all scores are large and near each other, so rounding them would change the attention.
  const Backbone backbone = tiny_backbone(family(), head_reads());
  const data::PackedBatch batch = pack(random_groups(5), backbone);
  const HeadShape shape{6, family() == Family::bert ? 6 : 2, 4};
  const AttentionPlan plan = plan_all_rows(batch, backbone.packing(), shape);
  at::manual_seed(5);
  const auto half = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const at::Tensor q = half(at::randn({batch.tokens(), 24})), k = half(at::randn({batch.tokens(), shape.kv_heads * 4}) + 100),
                   v = half(at::randn({batch.tokens(), shape.kv_heads * 4})), dout = half(at::randn({batch.tokens(), 24}));
  const auto run = [&](at::ScalarType dtype) {
    const Qkv in{q.to(dtype), k.to(dtype), v.to(dtype)}, d{at::empty(q.sizes()), at::zeros(k.sizes()), at::zeros(v.sizes())};
    const Attended result = generic::attention(in, plan);
    generic::attention_backward(dout.to(dtype), in, result, plan, d);
    return std::vector<at::Tensor>{result.out.to(at::kFloat), result.lse_HT, d.v_TC};
  };
  const std::vector<at::Tensor> got = run(at::kBFloat16), expected = run(at::kFloat);
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_LT(((got[i] - expected[i]).norm() / expected[i].norm()).item<double>(), 0.01) << i;
}

double relative_gap(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }
/// How far vectors reach along others, as a share of these, over all pairs that are added.
class Along {
 public:
  void add(const at::Tensor& a, const at::Tensor& b) {
    products_ += (a.to(at::kDouble) * b.to(at::kDouble)).sum().item<double>();
    squares_ += b.to(at::kDouble).square().sum().item<double>();
  }
  [[nodiscard]] double share() const { return products_ / squares_; }

 private:
  double products_ = 0, squares_ = 0;
};

TEST_P(PackedBatchOf, Bfloat16IsNearFloat32WithTheSameWeights) {
  const Weights rounded = tiny_backbone(family(), head_reads()).weights().clone(at::kBFloat16);
  const BackboneSpec spec = tiny_spec(family(), head_reads());
  const Backbone half(spec, rounded.clone()), full(spec, rounded.clone(at::kFloat));
  ASSERT_EQ(half.dtype(), at::kBFloat16);
  const Expert expert = random_expert(spec, 5, 0.3);
  const data::PackedBatch batch = pack(random_groups(1), half);
  const Step got = packed_step(half, expert, batch, 77), expected = packed_step(full, expert, batch, 77);
  const double rounding = 1.0 / 256;  // half of the relative distance of two neighbours in bfloat16
  EXPECT_EQ(got.rewards.scalar_type(), at::kFloat);
  EXPECT_LT(relative_gap(got.rewards, expected.rewards), 6 * rounding);
  EXPECT_LT(relative_gap(got.expert_gradient, expected.expert_gradient), 16 * rounding);
  EXPECT_LT(relative_gap(got.weight_gradient, expected.weight_gradient), 16 * rounding);
  EXPECT_GT(relative_gap(got.rewards, expected.rewards), rounding / 256);  // it does not compute in float32
  const Step again = packed_step(half, expert, batch, 77, true);
  EXPECT_TRUE(again.expert_gradient.equal(got.expert_gradient));
  EXPECT_TRUE(again.weight_gradient.equal(got.weight_gradient));
}

TEST_P(PackedBatchOf, Bfloat16HasTheScaleOfFloat32) {
  // Errors of rounding point anywhere, so over many batches hardly any is left along the results of float32. A factor that is
  // missing or wrong by a per cent hides in the norms above, but not here.
  const Weights rounded = tiny_backbone(family(), head_reads()).weights().clone(at::kBFloat16);
  const BackboneSpec spec = tiny_spec(family(), head_reads());
  const Backbone half(spec, rounded.clone()), full(spec, rounded.clone(at::kFloat));
  Along rewards, expert_gradient, weight_gradient;
  for (int seed = 1; seed <= 24; ++seed) {
    const Expert expert = random_expert(spec, seed, 0.3);
    const data::PackedBatch batch = pack(random_groups(seed), half);
    const Step got = packed_step(half, expert, batch, 77), expected = packed_step(full, expert, batch, 77);
    rewards.add(got.rewards, expected.rewards);
    expert_gradient.add(got.expert_gradient, expected.expert_gradient);
    weight_gradient.add(got.weight_gradient, expected.weight_gradient);
  }
  EXPECT_NEAR(rewards.share(), 1, 0.003);
  EXPECT_NEAR(expert_gradient.share(), 1, 0.02);
  EXPECT_NEAR(weight_gradient.share(), 1, 0.02);
}

std::string case_name(const testing::TestParamInfo<std::tuple<Family, HeadReads>>& param) {
  const auto [family, reads] = param.param;
  const std::string name = family == Family::llama   ? "llama"
                           : family == Family::qwen2 ? "qwen2"
                           : family == Family::qwen3 ? "qwen3"
                                                     : "bert";
  return name + (reads == HeadReads::mean ? "_mean" : "");
}

INSTANTIATE_TEST_SUITE_P(Families, PackedBatchOf,
                         testing::Combine(testing::Values(Family::llama, Family::qwen2, Family::qwen3, Family::bert),
                                          testing::Values(HeadReads::last, HeadReads::mean)),
                         case_name);

TEST(Ops, HandWrittenLoopsEqualAtenInDouble) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({37, 70}), w = at::randn({70}), dy = at::randn({37, 70}), past = at::randn({37, 70});
  at::Tensor rstd, rstd_ref;
  // A double tensor takes the ATen branch.
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  EXPECT_LT(largest_gap(rms_norm(x, w, 1e-5, &rstd), rms_norm(wide(x), wide(w), 1e-5, &rstd_ref)), 1e-5);
  EXPECT_LT(largest_gap(rms_norm_backward(dy, x, w, rstd, past, {}),
                        rms_norm_backward(wide(dy), wide(x), wide(w), wide(rstd_ref), wide(past), {})),
            1e-5);
  const at::Tensor gate_up = at::randn({37, 140}) * 5;
  at::Tensor act, act_ref;
  EXPECT_LT(largest_gap(swiglu(gate_up), swiglu(wide(gate_up))), 2e-5);
  EXPECT_LT(largest_gap(swiglu_backward(dy, gate_up, &act), swiglu_backward(wide(dy), wide(gate_up), &act_ref)), 5e-5);
  EXPECT_LT(largest_gap(act, act_ref), 2e-5);
  const at::Tensor angle = at::randn({37, 5}), turned = x.clone(), turned_ref = wide(x).clone();
  rotate(turned, angle.cos(), angle.sin(), false);
  rotate(turned_ref, wide(angle).cos(), wide(angle).sin(), false);
  EXPECT_LT(largest_gap(turned, turned_ref), 1e-6);
  rotate(turned, angle.cos(), angle.sin(), true);
  EXPECT_LT(largest_gap(turned, x), 1e-6);
}

TEST(Ops, DropoutKeepsTheGivenShareAndRepeatsForTheSameKey) {
  const at::Tensor x = at::ones({400, 500});
  const at::Tensor a = dropout(x, 0.3, 42, 0), again = dropout(x, 0.3, 42, 0), other = dropout(x, 0.3, 43, 0);
  EXPECT_TRUE(a.equal(again));
  EXPECT_FALSE(a.equal(other));
  EXPECT_NEAR((a == 0).to(at::kDouble).mean().item<double>(), 0.3, 0.005);
  EXPECT_NEAR(((a == 0) & (other == 0)).to(at::kDouble).mean().item<double>(), 0.09, 0.005);  // masks of two keys are independent
  EXPECT_NEAR(a.mean().item<double>(), 1.0, 0.01);
}

TEST(Ops, DropoutHasTheSameMaskInLoopsAndInAten) {
  const at::Tensor x = at::ones({300, 129});
  const at::Tensor loops = dropout(x, 0.3, 42, 5), aten = dropout(x.to(at::kDouble), 0.3, 42, 5);
  EXPECT_TRUE((loops == 0).equal(aten == 0));
  EXPECT_LT(largest_gap(loops, aten), 1e-6);
  const at::Tensor wide = at::randn({300, 200}), rows = wide.narrow(1, 7, 129);  // rows that are not contiguous
  EXPECT_TRUE(dropout(rows, 0.3, 42, 5).equal(dropout(rows.contiguous(), 0.3, 42, 5)));
}

TEST(PairwiseLoss, MatchesTheGoldenValuesAndStaysFinite) {
  std::vector<float> gradient(2, 0.0F);
  const std::vector<preference::Preference> pair = {{0, 1, 0.0F}};
  EXPECT_NEAR(pairwise_loss(std::vector<float>{1, 0}, pair, 1, gradient), 0.31326169, 1e-7);
  EXPECT_NEAR(pairwise_loss(std::vector<float>{-2, 0}, pair, 1, gradient), 2.12692801, 1e-7);
  gradient.assign(2, 0.0F);
  EXPECT_NEAR(pairwise_loss(std::vector<float>{-300, 0}, pair, 1, gradient), 300, 1e-6);  // log(sigmoid) would be infinite
  EXPECT_FLOAT_EQ(gradient[0], -1.0F);
  EXPECT_FLOAT_EQ(gradient[1], 1.0F);
}

TEST(PairwiseLoss, CentringPullsRewardsTowardsZero) {
  const std::vector<float> rewards = {1.5F, -0.5F, 2.0F};
  std::vector<float> gradient(3, 0.0F), unused(3, 0.0F);
  EXPECT_NEAR(centring_loss(rewards, 0.3, 0.5, gradient), 0.3 * (2.25 + 0.25 + 4.0) / 3, 1e-6);
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<float> up = rewards, down = rewards;
    up[i] += 1e-2F;
    down[i] -= 1e-2F;
    const double slope = (centring_loss(up, 0.3, 0.5, unused) - centring_loss(down, 0.3, 0.5, unused)) / 2e-2;
    EXPECT_NEAR(gradient[i], 0.5 * slope, 1e-4);
  }
}

TEST(PairwiseLoss, RefusesAGroupWithoutPairs) {
  std::vector<float> gradient(2, 0.0F);
  EXPECT_THROW(pairwise_loss(std::vector<float>{1, 0}, {}, 1, gradient), std::logic_error) << "its mean would be no number";
}

TEST(PairsRight, CountsWinnersWithTheHigherRewardAndHalfOfTies) {
  const std::vector<preference::Preference> pairs = {{0, 1, 0.0F}, {0, 2, 0.0F}, {3, 1, 0.0F}};
  EXPECT_EQ(pairs_right(std::vector<float>{4, 1, 2, 3}, pairs), 3.0);
  EXPECT_EQ(pairs_right(std::vector<float>{-4, -1, -2, -3}, pairs), 0.0);
  EXPECT_EQ(pairs_right(std::vector<float>{4, 1, 4, 0}, pairs), 1.5);
  const std::vector<preference::Preference> demanding = {{0, 1, 100.0F}};
  EXPECT_EQ(pairs_right(std::vector<float>{1.0F, 0.9999F}, demanding), 1.0) << "a margin changes the loss, not the order";
  EXPECT_EQ(pairs_right(std::vector<float>{0.9999F, 1.0F}, demanding), 0.0);
}

TEST(PairwiseLoss, WeighsBothOrdersByASoftTarget) {
  const auto loss = [](float gap, preference::Preference pair, std::vector<float>* slope) {
    std::vector<float> gradient(2, 0.0F);
    const double value = pairwise_loss(std::vector<float>{gap, 0}, std::vector<preference::Preference>{pair}, 1, gradient);
    if (slope != nullptr) *slope = gradient;
    return value;
  };
  for (const float gap : {-5.0F, -0.3F, 0.0F, 0.8F, 40.0F}) {
    std::vector<float> slope;
    const double soft = loss(gap, {0, 1, 0.0F, 0.7F}, &slope);
    EXPECT_NEAR(soft, 0.7 * loss(gap, {0, 1}, nullptr) + 0.3 * loss(gap, {1, 0}, nullptr), 1e-6 * std::max(1.0, std::abs(soft)));
    const double difference =
        (loss(gap + 1e-3F, {0, 1, 0.0F, 0.7F}, nullptr) - loss(gap - 1e-3F, {0, 1, 0.0F, 0.7F}, nullptr)) / 2e-3;
    EXPECT_NEAR(slope[0], difference, 2e-3);
    EXPECT_FLOAT_EQ(slope[0], -slope[1]);
  }
}

TEST(PairwiseLoss, NegatesTheGapWhenSwappedAndIgnoresAConstant) {
  std::vector<float> g1(2, 0.0F), g2(2, 0.0F), g3(2, 0.0F);
  const std::vector<preference::Preference> pair = {{0, 1, 0.0F}}, swapped = {{1, 0, 0.0F}};
  const double forward = pairwise_loss(std::vector<float>{0.7F, -0.2F}, pair, 1, g1),
               backward = pairwise_loss(std::vector<float>{0.7F, -0.2F}, swapped, 1, g2);
  EXPECT_NEAR(backward - forward, 0.9, 1e-6);  // softplus(g) - softplus(-g) = g
  EXPECT_NEAR(pairwise_loss(std::vector<float>{5.7F, 4.8F}, pair, 1, g3), forward, 1e-6);
}

}  // namespace
}  // namespace dmoerm::nn
