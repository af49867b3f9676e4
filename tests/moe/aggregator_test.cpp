#include "moe/aggregator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>
#include <numeric>

#include "base/rng.h"
#include "moe/adam_fit.h"
#include "moe/held_out.h"

namespace dmoerm::moe {
namespace {

constexpr std::int64_t kExperts = 3, kWidth = 8;

/// Groups of four responses whose true order is a function of the experts' states and rewards.
ExpertFeatures planted(std::int64_t groups, std::uint64_t seed, bool nonlinear) {
  at::manual_seed(seed);
  ExpertFeatures f;
  const std::int64_t n = groups * 4;
  f.rewards_NK = at::randn({n, kExperts}) * at::tensor({1.0F, 5.0F, 0.2F}) + 3.0;
  const at::Tensor states_NKH = at::randn({n, kExperts, kWidth});
  f.states_NKH = states_NKH;
  f.prompts_GH = at::zeros({groups, kWidth});
  const at::Tensor linear = 2.0 * f.rewards_NK.select(1, 0) -
                            0.1 * f.rewards_NK.select(1, 1);  // the second expert counts negatively, the third not at all
  const at::Tensor bent = states_NKH.select(1, 0).select(1, 2).abs() + states_NKH.select(1, 2).select(1, 5);
  const at::Tensor truth = (nonlinear ? bent : linear).contiguous();
  for (std::int64_t g = 0; g < groups; ++g) {
    ExpertFeatures::Group group{g * 4, 4, {}};
    for (std::int32_t i = 0; i < 4; ++i) {
      for (std::int32_t j = i + 1; j < 4; ++j) {
        const bool first = truth[g * 4 + i].item<float>() > truth[g * 4 + j].item<float>();
        group.pairs.push_back({first ? i : j, first ? j : i, 0.0F});
      }
    }
    f.groups.push_back(group);
  }
  return f;
}

double accuracy(const Aggregator& a, const ExpertFeatures& f) { return pair_accuracy(a.rewards(f), f.groups); }

config::AggregatorConfig quick() {
  config::AggregatorConfig config;
  config.lr = 0.02;
  config.steps_max = 600;
  config.weight_decay = 0.0;
  return config;
}

TEST(Aggregator, StackRecoversAPlantedCombinationThatTheMeanMisses) {
  const ExpertFeatures train = planted(60, 1, false), validation = planted(30, 2, false), test = planted(60, 3, false);
  const Aggregator linear = fit_aggregator("stack", train, validation, quick(), 1);
  EXPECT_GT(accuracy(linear, test), 0.95);
  EXPECT_LT(accuracy(mean_aggregator(train), test), 0.85);
  EXPECT_GT(linear.weight_K[0].item<float>(), 0.0F);
  EXPECT_LT(linear.weight_K[1].item<float>(), 0.0F);
}

TEST(Aggregator, PaperMlpLearnsFromStatesWhatRewardsDoNotShow) {
  const ExpertFeatures train = planted(300, 4, true), validation = planted(60, 5, true), test = planted(100, 6, true);
  const Aggregator mlp = fit_aggregator("paper_mlp", train, validation, quick(), 1);
  EXPECT_GT(accuracy(mlp, test), 0.85);
  EXPECT_LT(accuracy(fit_aggregator("stack", train, validation, quick(), 1), test), 0.65);
  EXPECT_EQ(mlp.w1_HF.sizes(), (std::vector<std::int64_t>{kWidth, kExperts * kWidth}));  // Linear(KH, H)
}

TEST(Aggregator, HeldOutGroupsShowWhichKindIsBetter) {
  const ExpertFeatures bent = planted(150, 4, true), straight = planted(60, 1, false), validation_bent = planted(60, 5, true),
                       validation_straight = planted(30, 2, false);
  const auto judged = [](const char* kind, const ExpertFeatures& train, const ExpertFeatures& validation) {
    return held_out(kind, train, validation, quick(), 1);
  };
  const HeldOut linear = judged("stack", straight, validation_straight), mean = judged("mean", straight, validation_straight);
  EXPECT_TRUE(clearly_better(judged("paper_mlp", bent, validation_bent), judged("stack", bent, validation_bent)));
  EXPECT_TRUE(clearly_better(linear, mean));
  EXPECT_FALSE(clearly_better(mean, linear));
  EXPECT_FALSE(clearly_better(linear, linear));
  EXPECT_NEAR(linear.accuracy(),
              accuracy(fit_aggregator("stack", straight, validation_straight, quick(), 1), planted(60, 3, false)), 0.05);
}

TEST(Aggregator, HeldOutGroupsRevealNoiseThatValidationTakesForProgress) {
  double validated = 0, unseen = 0;
  int misled = 0;
  constexpr int kDraws = 8;
  for (int draw = 0; draw < kDraws; ++draw) {
    ExpertFeatures train = planted(40, 1, true), validation = planted(5, 2, true);
    at::manual_seed(static_cast<std::uint64_t>(draw));  // states that are independent of the pairs
    for (ExpertFeatures* f : {&train, &validation}) f->states_NKH = at::randn({f->states_NKH.size(0), kExperts, kWidth});
    validated += fit_aggregator("paper_mlp", train, validation, quick(), 1).validation_accuracy() / kDraws;
    const HeldOut mlp = held_out("paper_mlp", train, validation, quick(), 1);
    unseen += mlp.accuracy() / kDraws;
    misled += clearly_better(mlp, held_out("stack", train, validation, quick(), 1));
  }
  EXPECT_GT(validated, 0.58);  // it stopped at the luckiest step
  EXPECT_NEAR(unseen, 0.5, 0.04);
  EXPECT_LE(misled, kDraws / 2);
  const ExpertFeatures one{at::randn({4, kExperts, kWidth}), at::randn({4, kExperts}), {planted(1, 1, true).groups}};
  EXPECT_EQ(held_out("paper_mlp", one, one, quick(), 1).accuracy(), 0.5);
}

TEST(Aggregator, HoldsOutAllGroupsOfAPrompt) {
  // The pairs do not depend on the states, but each prompt has six rows with the same states and pairs: whoever has seen one row
  // of a prompt knows the others.
  const ExpertFeatures once = planted(20, 1, true);
  ExpertFeatures rows{at::randn({20 * 4, kExperts, kWidth}).repeat({6, 1, 1}), once.rewards_NK.repeat({6, 1})};
  for (std::int64_t row = 0; row < 6; ++row) {
    for (std::int64_t g = 0; g < 20; ++g)
      rows.groups.push_back({(row * 20 + g) * 4, 4, once.groups[static_cast<std::size_t>(g)].pairs, g});
  }
  const HeldOut together = held_out("paper_mlp", rows, rows, quick(), 1);
  EXPECT_EQ(together.right.size(), 20U) << "one figure for each prompt";
  EXPECT_EQ(together.pairs.front(), 36.0);
  for (ExpertFeatures::Group& group : rows.groups) group.prompt = -1;
  const HeldOut apart = held_out("paper_mlp", rows, rows, quick(), 1);
  EXPECT_GT(apart.accuracy(), 0.8) << "what it remembers of the other rows";
  EXPECT_LT(together.accuracy(), 0.65);
}

TEST(Aggregator, ChoosesALargerKindOnlyIfBetterByMoreThanAStandardError) {
  const HeldOut smaller{{3, 3, 3, 3}, {6, 6, 6, 6}}, once{{3, 3, 3, 4}, {6, 6, 6, 6}}, often{{4, 4, 3, 4}, {6, 6, 6, 6}};
  EXPECT_FALSE(clearly_better(once, smaller));  // one more pair in one group: 1, with a standard error of 1
  EXPECT_TRUE(clearly_better(often, smaller));  // 3, with a standard error of 1
  EXPECT_DOUBLE_EQ(often.accuracy(), 15.0 / 24);
}

TEST(Aggregator, ChoosesTheLargerKindThatIsBetterByTheSameInEveryGroup) {
  const HeldOut smaller{{0, 0, 0}, {1, 1, 1}}, larger{{0.1, 0.1, 0.1}, {1, 1, 1}};  // the variance rounds to -5e-18
  EXPECT_TRUE(clearly_better(larger, smaller));
  EXPECT_FALSE(clearly_better(smaller, larger));
}

TEST(Aggregator, StandardisesByTheSpreadWithinGroups) {
  // The first expert's rewards differ by 2 within a group and by 20 between groups; the second's by 2 within a group alone.
  ExpertFeatures f{at::zeros({5, 2, 1}),
                   at::tensor({11.F, 1.F, 9.F, -1.F, -9.F, -1.F, -11.F, 1.F, 7.F, 7.F}).view({5, 2}),
                   {{0, 2, {}}, {2, 2, {}}, {4, 1, {}}}};
  const Aggregator mean = mean_aggregator(f);
  EXPECT_NEAR(mean.reward_std_K[0].item<float>(), std::sqrt(2.0), 1e-6) << "four squares of 1, two degrees of freedom";
  EXPECT_NEAR(mean.reward_std_K[1].item<float>(), std::sqrt(2.0), 1e-6);
  EXPECT_NEAR(mean.reward_mean_K[0].item<float>(), 1.4, 1e-6);
  const at::Tensor votes_N = mean.rewards(f);
  EXPECT_NEAR((votes_N[0] - votes_N[1]).item<float>(), std::sqrt(2.0), 1e-6) << "both say so";
  EXPECT_NEAR((votes_N[2] - votes_N[3]).item<float>(), 0, 1e-6) << "their votes have the same weight";
  f.groups = {{0, 1, {}}, {1, 1, {}}};
  EXPECT_TRUE(mean_aggregator(f).reward_std_K.equal(at::ones({2}))) << "no group tells";
}

TEST(Aggregator, KeepsTheBestStepNotTheLast) {
  const ExpertFeatures train = planted(6, 7, true), validation = planted(40, 8, true);  // overfits within a few steps
  config::AggregatorConfig config = quick();
  config.lr = 0.05;
  const Aggregator a = fit_aggregator("paper_mlp", train, validation, config, 3);
  EXPECT_DOUBLE_EQ(accuracy(a, validation), a.validation_accuracy());
  EXPECT_LT(a.best_step(), config.steps_max);
}

TEST(Aggregator, RepeatsExactlyAlsoAfterSaveAndLoad) {
  const ExpertFeatures train = planted(20, 9, true), validation = planted(10, 10, true);
  const std::filesystem::path file = std::filesystem::temp_directory_path() / ("dmoerm_aggregator_" + std::to_string(::getpid()));
  for (const char* kind : {"mean", "stack", "gate", "mlp", "paper_mlp", "wco", "uwo"}) {
    const Aggregator a = fit_aggregator(kind, train, validation, quick(), 3),
                     b = fit_aggregator(kind, train, validation, quick(), 3);
    EXPECT_TRUE(a.rewards(train).equal(b.rewards(train)));
    a.save(file);
    const Aggregator loaded = Aggregator::load(file);
    EXPECT_TRUE(loaded.rewards(train).equal(a.rewards(train)));
    EXPECT_EQ(loaded.kind(), kind);
    EXPECT_EQ(loaded.best_step(), a.best_step());
  }
  std::filesystem::remove(file);
}

/// Numbers of the groups that the first `steps` steps of a fit read.
std::vector<std::size_t> groups_of_steps(std::size_t groups, std::uint64_t seed, std::size_t count) {
  std::vector<std::size_t> order(groups);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng(seed, "aggregator/order/mlp", 0).shuffle(order);
  order.resize(count);
  return order;
}

TEST(Aggregator, ComputesOnlyTheGroupsOfAStep) {
  config::AggregatorConfig config = quick();
  config.groups_per_step = 8, config.steps_max = 2, config.eval_every_steps = 1;
  ExpertFeatures train = planted(50, 1, true);
  const ExpertFeatures validation = planted(5, 2, true);
  const Aggregator whole = fit_aggregator("paper_mlp", train, validation, config, 1);
  EXPECT_GT(whole.best_step(), 0) << "or the weights would be those of the start";
  const auto read = groups_of_steps(50, 1, 16);
  const at::Tensor states_NKH = train.states_NKH.read(at::arange(200));
  train.states_NKH = states_NKH;
  for (std::size_t g = 0; g < 50; ++g) {  // a product of zero and this is not a number
    if (std::ranges::find(read, g) == read.end())
      states_NKH.narrow(0, static_cast<std::int64_t>(4 * g), 4).fill_(std::numeric_limits<float>::infinity());
  }
  EXPECT_TRUE(fit_aggregator("paper_mlp", train, validation, config, 1).rewards(validation).equal(whole.rewards(validation)));
}

TEST(Aggregator, TakesTheStepsOfTheFormulaOverAllGroups) {
  config::AggregatorConfig config = quick();
  config.groups_per_step = 6, config.steps_max = 5, config.eval_every_steps = 5, config.weight_decay = 0.1;
  const ExpertFeatures train = planted(30, 1, true), validation = planted(10, 2, true);
  const Aggregator fitted = fit_aggregator("paper_mlp", train, validation, config, 1);
  config.steps_max = 0;
  Aggregator expected = fit_aggregator("paper_mlp", train, validation, config, 1);  // the weights of the start
  std::vector<at::Tensor> parameters = {expected.w1_HF.to(at::kDouble), expected.b1_H.to(at::kDouble),
                                        expected.slope.to(at::kDouble), expected.w2_H.to(at::kDouble),
                                        expected.b2.to(at::kDouble)};
  const auto order = groups_of_steps(30, 1, 30);
  const at::Tensor states_NF = train.states_NKH.read(at::arange(120)).flatten(1).to(at::kDouble);
  const auto loss = [&](std::int64_t step) {
    const at::Tensor hidden = at::addmm(parameters[1], states_NF, parameters[0].t());
    const at::Tensor rewards = at::mv(at::prelu(hidden, parameters[2]), parameters[3]) + parameters[4];
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (std::size_t i = 0; i < 6; ++i) {
      const ExpertFeatures::Group& group = train.groups[order[static_cast<std::size_t>(step) * 6 + i]];
      for (const preference::Preference& p : group.pairs) {
        sum = sum + at::softplus(rewards[group.first + p.loser] - rewards[group.first + p.winner]) /
                        static_cast<double>(6 * group.pairs.size());
      }
    }
    return sum;
  };
  int calls = 0;  // the last step counts as the best
  fit_adamw(parameters, {config.lr, config.weight_decay, config.max_grad_norm, 5, 5, 20}, loss,
            [&]() -> std::pair<double, double> {
              return {++calls, 0};
            });
  ASSERT_EQ(fitted.best_step(), 5);
  EXPECT_LT((fitted.w1_HF - parameters[0]).norm().item<double>(), 1e-5 * parameters[0].norm().item<double>());
  EXPECT_LT((fitted.w2_H - parameters[3]).norm().item<double>(), 1e-5 * parameters[3].norm().item<double>());
  EXPECT_GT((expected.w1_HF - parameters[0]).norm().item<double>(), 1e-2 * parameters[0].norm().item<double>());
}

}  // namespace
}  // namespace dmoerm::moe
