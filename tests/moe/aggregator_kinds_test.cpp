// What each kind of aggregator computes, and what it does with data that say little.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "moe/held_out.h"
#include "moe/length_share.h"

namespace dmoerm::moe {
namespace {

constexpr std::int64_t kWidth = 6;
constexpr const char* kKinds[] = {"mean", "stack", "gate", "mlp", "paper_mlp", "wco", "uwo"};

/// Groups of four responses with K experts and a base, all of them noise, whose pairs follow `quality_N`.
struct Planted {
  ExpertFeatures features;
  at::Tensor states_NKH, prompts_GH, quality_N;  ///< Of the states those that the features read

  Planted(std::int64_t groups, std::int64_t experts, std::uint64_t seed) {
    at::manual_seed(seed);
    const std::int64_t n = 4 * groups;
    states_NKH = at::randn({n, experts, kWidth}), features.rewards_NK = at::randn({n, experts});
    features.base_N = at::randn({n}), features.length_N = at::randn({n}), prompts_GH = at::randn({groups, kWidth});
    features.states_NKH = states_NKH, features.prompts_GH = prompts_GH;
    quality_N = at::randn({n});
    for (std::int64_t g = 0; g < groups; ++g) features.groups.push_back({4 * g, 4, {}, g});
  }
  void label() {
    for (ExpertFeatures::Group& group : features.groups) {
      group.pairs.clear();
      for (std::int32_t i = 0; i < 4; ++i) {
        for (std::int32_t j = i + 1; j < 4; ++j) {
          const bool first = (quality_N[group.first + i] > quality_N[group.first + j]).item<bool>();
          group.pairs.push_back({first ? i : j, first ? j : i});
        }
      }
    }
  }
};

Aggregator fit(const std::string& kind, const ExpertFeatures& features, config::AggregatorConfig config = {}) {
  return fit_aggregator(kind, features, {}, config, 3);
}
double accuracy(const Aggregator& a, const ExpertFeatures& f) { return pair_accuracy(a.rewards(f), f.groups); }

TEST(AggregatorKinds, StackReadsTheBaseWhereTheExpertsKnowNothing) {
  Planted train(80, 3, 1), test(80, 3, 2);
  for (Planted* p : {&train, &test}) p->quality_N = p->features.base_N, p->label();
  const Aggregator stack = fit("stack", train.features);
  EXPECT_TRUE(stack.reads_base());
  EXPECT_GT(accuracy(stack, test.features), 0.95);
  EXPECT_NEAR(accuracy(fit("mean", train.features), test.features), 0.5, 0.08);
  ExpertFeatures without = train.features;
  without.base_N = at::Tensor();
  EXPECT_FALSE(fit("stack", without).reads_base());
}

TEST(AggregatorKinds, StackStaysNearTheMeanWhereFewLabelsAreNoise) {
  Planted train(6, 4, 5);
  train.label();
  const Aggregator stack = fit("stack", train.features);
  const at::Tensor mean = at::tensor({0.25F, 0.25F, 0.25F, 0.25F, 0.0F});
  EXPECT_LT((stack.weight_K - mean).norm().item<double>(), mean.norm().item<double>());
}

TEST(AggregatorKinds, GateLearnsWhichExpertCountsForAPrompt) {
  Planted train(400, 2, 1), test(100, 2, 2);
  for (Planted* p : {&train, &test}) {
    const at::Tensor first_G = (p->prompts_GH.select(1, 2) > 0).to(at::kFloat);
    const at::Tensor first_N = first_G.repeat_interleave(4);
    p->quality_N = first_N * p->features.rewards_NK.select(1, 0) + (1 - first_N) * p->features.rewards_NK.select(1, 1);
    p->label();
  }
  const Aggregator gate = fit("gate", train.features);
  EXPECT_GT(accuracy(gate, test.features), 0.9);
  EXPECT_LT(accuracy(fit("stack", train.features), test.features), 0.8);
}

TEST(AggregatorKinds, GateHasOneWeightForAllResponsesOfAPrompt) {
  Planted train(60, 2, 1);
  train.features.length_N = at::Tensor();
  train.quality_N = train.features.rewards_NK.select(1, 0) * (train.prompts_GH.select(1, 0).repeat_interleave(4) + 1);
  train.label();
  const Aggregator gate = fit("gate", train.features);
  const at::Tensor weights_NR = gate.contributions(train.features) / gate.standardised(train.features);
  for (std::int64_t n = 0; n < 240; ++n) EXPECT_LT((weights_NR[n] - weights_NR[n / 4 * 4]).abs().max().item<double>(), 1e-3) << n;
  EXPECT_GT((weights_NR[0] - weights_NR[4]).abs().max().item<double>(), 1e-3) << "and others for another prompt";
}

TEST(AggregatorKinds, ContributionsAddUpToTheReward) {
  Planted train(40, 3, 4);
  train.quality_N = train.features.rewards_NK.select(1, 1) + 0.5 * train.features.length_N;
  train.features.rewards_NK.select(1, 0).add_(train.features.length_N);
  train.label();
  for (const char* kind : {"mean", "stack", "gate"}) {
    const Aggregator a = fit(kind, train.features);
    const at::Tensor parts = a.contributions(train.features);
    EXPECT_EQ(parts.size(1), std::string(kind) == "mean" ? 3 : 4) << kind;
    EXPECT_LT((parts.sum(1) - a.rewards(train.features)).abs().max().item<double>(), 1e-5) << kind;
  }
  for (const char* kind : {"mlp", "paper_mlp", "wco", "uwo"})
    EXPECT_FALSE(fit(kind, train.features).contributions(train.features).defined()) << kind;
}

TEST(AggregatorKinds, MlpAddsToTheStackWhatOnlyStatesShow) {
  Planted train(200, 2, 1), test(60, 2, 2);
  for (Planted* p : {&train, &test})
    p->quality_N = p->features.rewards_NK.select(1, 0) + 2 * p->states_NKH.select(1, 0).select(1, 3), p->label();
  const Aggregator mlp = fit("mlp", train.features), stack = fit("stack", train.features);
  EXPECT_GT(accuracy(mlp, test.features), accuracy(stack, test.features) + 0.1);
  EXPECT_GT(mlp.best_step(), 0);
  EXPECT_TRUE(mlp.weight_K.equal(stack.weight_K));
}

TEST(AggregatorKinds, MlpIsTheStackWhereStatesAreNoise) {
  Planted train(30, 2, 1);
  train.quality_N = train.features.rewards_NK.select(1, 0), train.label();
  config::AggregatorConfig config;
  config.mlp_lr = 0.05;  // every step does harm
  const Aggregator mlp = fit("mlp", train.features, config), stack = fit("stack", train.features);
  EXPECT_GE(accuracy(mlp, train.features), accuracy(stack, train.features) - 0.02);
  Planted few(4, 2, 1);  // no prompt can be spared for stopping
  few.label();
  EXPECT_TRUE(fit("mlp", few.features).rewards(few.features).equal(fit("stack", few.features).rewards(few.features)));
}

TEST(AggregatorKinds, MlpAndGateNeverReadTheValidationSplit) {
  Planted train(40, 2, 1), validation(20, 2, 2);
  for (Planted* p : {&train, &validation}) p->label();
  for (const char* kind : {"mlp", "gate", "stack", "uwo"}) {
    const at::Tensor with = fit_aggregator(kind, train.features, validation.features, {}, 3).rewards(train.features);
    EXPECT_TRUE(with.equal(fit(kind, train.features).rewards(train.features))) << kind;
  }
}

TEST(AggregatorKinds, WeightDecayOfTheMlpMatters) {
  Planted train(60, 2, 1);
  train.quality_N = train.states_NKH.select(1, 0).select(1, 3), train.label();
  config::AggregatorConfig weak, strong;
  weak.mlp_weight_decay = 0, strong.mlp_weight_decay = 50;
  for (config::AggregatorConfig* c : {&weak, &strong}) c->steps_max = 200, c->patience = 1000;
  EXPECT_LT(fit("mlp", train.features, strong).w1_HF.norm().item<double>(),
            0.8 * fit("mlp", train.features, weak).w1_HF.norm().item<double>());
}

TEST(AggregatorKinds, ReadSomeRowsOfTheStatesAtATimeAndGiveTheSameBits) {
  constexpr std::int64_t kMost = 4096;
  Planted train(1100, 2, 1), validation(1050, 2, 2);  // more responses than are read at a time
  std::int64_t most = 0;
  const auto on_disk = [&most](const Planted& planted) {
    const auto counted = [&most](const at::Tensor& held) {
      return LazyRows(held.sizes().vec(), [held, &most](const at::Tensor& rows) {
        most = std::max(most, rows.numel());
        return held.index_select(0, rows);
      });
    };
    ExpertFeatures features = planted.features;
    features.states_NKH = counted(planted.states_NKH), features.prompts_GH = counted(planted.prompts_GH);
    return features;
  };
  for (Planted* p : {&train, &validation}) p->label();
  ASSERT_GT(4 * 1050, kMost);
  const ExpertFeatures far = on_disk(train), far_validation = on_disk(validation);
  config::AggregatorConfig config;
  config.steps_max = 4, config.eval_every_steps = 2;
  for (const char* kind : kKinds) {
    most = 0;
    const at::Tensor held = fit_aggregator(kind, train.features, validation.features, config, 3).rewards(train.features),
                     read = fit_aggregator(kind, far, far_validation, config, 3).rewards(far);
    EXPECT_TRUE(read.equal(held)) << kind;
    EXPECT_LE(most, kMost) << kind;
    const std::string name = kind;
    EXPECT_EQ(most > 0, name == "gate" || name == "mlp" || name == "paper_mlp") << kind << " reads states or not";
  }
}

TEST(AggregatorKinds, EnsemblesOfExpertsAreConservative) {
  Planted p(2, 3, 1);
  p.features.rewards_NK.copy_(
      at::tensor({1.F, 2.F, 4.F, 0.F, 0.F, 0.F, 1.F, 1.F, 1.F, 2.F, 0.F, 1.F}).view({4, 3}).repeat({2, 1}));
  p.label();
  Aggregator wco = fit("wco", p.features), uwo = fit("uwo", p.features);
  for (Aggregator* a : {&wco, &uwo}) a->reward_mean_K.zero_(), a->reward_std_K.fill_(1);
  uwo.variance_price = 0.5;
  EXPECT_NEAR(wco.rewards(p.features)[0].item<double>(), 1, 1e-6);
  EXPECT_NEAR(uwo.rewards(p.features)[0].item<double>(), 7.0 / 3 - 0.5 * 14 / 9, 1e-6) << "population variance";
  EXPECT_FALSE(wco.reads_base());
}

TEST(AggregatorKinds, PriceOfTheVarianceIsTheOneThatOrdersPromptsHeldOut) {
  Planted train(60, 3, 1);
  train.quality_N = -train.features.rewards_NK.var(1, false), train.label();
  EXPECT_EQ(fit("uwo", train.features).variance_price, 2) << "the largest, where agreement is everything";
  train.quality_N = train.features.rewards_NK.mean(1), train.label();
  EXPECT_EQ(fit("uwo", train.features).variance_price, 0);
  Planted one(1, 3, 1);
  one.label();
  EXPECT_EQ(fit("uwo", one.features).variance_price, 0.5) << "one prompt cannot choose";
}

// Lengths 1 to 8 and values .3 * length + noise: Spearman's correlation is .8333 at 0, .4286 at .1 and 0 at .2.
TEST(LengthShare, IsTheSmallestThatEndsTheCorrelation) {
  const std::vector<float> lengths = {1, 2, 3, 4, 5, 6, 7, 8}, noise = {.9F, -.4F, .3F, -.8F, .6F, -.5F, .1F, -.2F};
  std::vector<float> values, shrinking;
  for (std::size_t i = 0; i < 8; ++i) values.push_back(.3F * lengths[i] + noise[i]), shrinking.push_back(-lengths[i]);
  const std::vector<ExpertFeatures::Group> group = {{0, 8, {}}};
  const double share = length_share(values, lengths, group);
  EXPECT_GT(share, .1);
  EXPECT_LE(share, .2);
  EXPECT_EQ(length_share(shrinking, lengths, group), 0);
  std::vector<float> twice = lengths;
  for (float& v : twice) v *= 2;
  EXPECT_EQ(length_share(twice, lengths, group), 1) << "no share is enough";
  EXPECT_EQ(length_share(values, std::vector<float>(8, 1.F), group), 0) << "equal lengths";
  EXPECT_EQ(length_share({}, {}, {}), 0);
}

TEST(LengthShare, LooksWithinGroupsOnly) {
  const std::vector<float> values = {0, 1, 10, 11}, lengths = {1, 0, 11, 10};
  EXPECT_EQ(length_share(values, lengths, {{0, 2, {}}, {2, 2, {}}}), 0);
  EXPECT_GT(length_share(values, lengths, {{0, 4, {}}}), 0);
}

/// Every kind, on data that say little: a clear outcome, and finite rewards.
void expect_finite(const ExpertFeatures& features, const char* what) {
  for (const char* kind : kKinds) {
    const Aggregator a = fit(kind, features);
    EXPECT_TRUE(a.rewards(features).isfinite().all().item<bool>()) << kind << " " << what;
    const HeldOut held = held_out(kind, features, {}, {}, 1);
    EXPECT_TRUE(std::isfinite(held.accuracy())) << kind << " " << what;
  }
}

TEST(AggregatorKinds, OneExpertIsEnough) {
  Planted one(30, 1, 1);
  one.label();
  expect_finite(one.features, "one point");
}

TEST(AggregatorKinds, GroupsWithoutPairsLeaveTheMean) {
  Planted none(10, 2, 1);
  expect_finite(none.features, "no pairs");
  const at::Tensor mean = fit("mean", none.features).rewards(none.features);
  for (const char* kind : {"stack", "mlp"}) EXPECT_TRUE(fit(kind, none.features).rewards(none.features).equal(mean)) << kind;
  EXPECT_EQ(held_out("stack", none.features, {}, {}, 1).accuracy(), 0.5);
}

TEST(AggregatorKinds, RatersThatDisagreeFullyTeachNothing) {
  Planted half(30, 2, 1);
  half.label();
  for (ExpertFeatures::Group& group : half.features.groups) {
    for (preference::Preference& p : group.pairs) p.target = 0.5F;
  }
  expect_finite(half.features, "targets of a half");
  const Aggregator stack = fit("stack", half.features);
  EXPECT_LT(stack.weight_K.abs().max().item<double>(), 0.5 + 1e-6);
  for (const char* kind : {"stack", "gate", "mlp"})
    EXPECT_FALSE(clearly_better(held_out(kind, half.features, {}, {}, 1), held_out("mean", half.features, {}, {}, 1))) << kind;
}

TEST(AggregatorKinds, EqualScoresGiveEqualRewards) {
  Planted equal(20, 2, 1);
  equal.label();
  equal.features.rewards_NK.fill_(0.5), equal.features.base_N.fill_(0.5), equal.features.length_N.fill_(2);
  expect_finite(equal.features, "equal scores");
  for (const char* kind : {"mean", "stack", "gate", "wco", "uwo"})
    EXPECT_EQ(fit(kind, equal.features).rewards(equal.features).std().item<double>(), 0) << kind;
}

TEST(AggregatorKinds, RefusesWhatIsNotFinite) {
  Planted broken(10, 2, 1);
  broken.label();
  broken.features.rewards_NK[3][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(fit("stack", broken.features), DataError);
  EXPECT_THROW(fit("linear", broken.features), ConfigError);
}

TEST(BestKind, IsTheMeanWhereNoiseHasTurnedTheStackRound) {
  const auto held_out = [](std::vector<double> right) { return HeldOut{std::move(right), std::vector<double>(6, 3)}; };
  const HeldOut good = held_out({3, 2, 3, 3, 2, 3}), bad = held_out({0, 1, 0, 1, 0, 0}), fair = held_out({1, 2, 1, 2, 1, 1}),
                level = held_out({2, 3, 3, 3, 2, 3});
  EXPECT_EQ(best_kind({{"mean", good}, {"stack", bad}, {"gate", fair}, {"mlp", bad}}), "mean")
      << "fair is better than the stack alone";
  EXPECT_EQ(best_kind({{"mean", level}, {"stack", good}, {"gate", good}, {"mlp", bad}}), "stack") << "level with the mean";
  EXPECT_EQ(best_kind({{"mean", bad}, {"stack", fair}, {"gate", bad}, {"mlp", good}}), "mlp");
}

}  // namespace
}  // namespace dmoerm::moe
