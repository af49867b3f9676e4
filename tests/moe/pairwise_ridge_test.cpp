#include "moe/pairwise_ridge.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"

namespace dmoerm::moe {
namespace {

constexpr std::int64_t kGroups = 12, kResponses = 3;

/// The data of pairwise_ridge_golden.py.
at::Tensor wavy(std::int64_t features) {
  at::Tensor x = at::zeros({kGroups * kResponses, features}, at::kDouble);
  auto v = x.accessor<double, 2>();
  for (std::int64_t n = 0; n < x.size(0); ++n) {
    for (std::int64_t f = 0; f < features; ++f)
      v[n][f] = std::sin(1.3 * static_cast<double>(n) + 2.7 * static_cast<double>(f) + 0.1 * static_cast<double>(n * f));
  }
  return x;
}
std::vector<ExpertFeatures::Group> wavy_groups() {
  std::vector<ExpertFeatures::Group> groups;
  for (std::int64_t g = 0; g < kGroups; ++g) {
    ExpertFeatures::Group group{g * kResponses, kResponses, {}, g / 2};
    const float target = g % 4 == 0 ? 0.8F : 1.0F;
    const preference::Preference all[] = {{0, 1, 0.0F, target}, {2, 0, 0.1F, target}, {1, 2, 0.2F, target}};
    for (std::int64_t i = 0; i <= g % 3; ++i) group.pairs.push_back(all[i]);
    groups.push_back(group);
  }
  return groups;
}

void expect_near(const at::Tensor& got, const std::vector<double>& expected, double tolerance = 1e-7) {
  ASSERT_EQ(got.numel(), static_cast<std::int64_t>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got[static_cast<std::int64_t>(i)].item<double>(), expected[i], tolerance) << i;
}
double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

// The figures are those that pairwise_ridge_golden.py prints.
TEST(PairwiseRidge, WeightsAreThoseOfAnotherMinimiser) {
  const PairDifferences pairs = pair_differences(wavy(4), wavy_groups());
  EXPECT_EQ(pairs.prompt_count, 6);
  expect_near(fit_ridge(pairs, {}, 0.5), {-0.3282799259, 0.2537044526, 0.1287035582, -0.0767061828});
  const at::Tensor quarter = at::full({4}, 0.25, at::kDouble), diagonal = at::tensor({1.0, 2.0, 0.5, 4.0}, at::kDouble);
  expect_near(fit_ridge(pairs, {quarter, diagonal}, 2.0), {-0.1118351030, 0.2653539888, 0.1625583388, 0.1557643118});
  const at::Tensor free = at::eye(4, at::kDouble) - at::full({4, 4}, 0.25, at::kDouble);
  expect_near(fit_ridge(pairs, {quarter, free, 0.01}, 3.0), {-0.1832320903, 0.1549863713, 0.0552060345, -0.0363886224});
}

TEST(PairwiseRidge, FewerPairsThanFeaturesGiveTheSameWeights) {
  const PairDifferences pairs = pair_differences(wavy(40), wavy_groups());
  const at::Tensor towards = at::full({40}, 0.1, at::kDouble), diagonal = at::arange(40, at::kDouble).remainder(3) + 1;
  const at::Tensor in_span = fit_ridge(pairs, {towards, diagonal}, 0.3);
  expect_near(at::stack({in_span[0], in_span[1], in_span[7], in_span[39], in_span.sum()}),
              {-0.2877250411, 0.1416728124, -0.0146949913, -0.1272725356, 3.6845089224}, 1e-6);
  EXPECT_LT(distance(in_span, fit_ridge(pairs, {towards, at::diag(diagonal)}, 0.3)), 1e-9);
  EXPECT_LT(distance(in_span, fit_ridge(pairs, {towards, diagonal}, 0.3, in_span + 0.01)), 1e-9) << "whatever it starts from";
}

TEST(PairwiseRidge, GapsWithoutThePromptAreThoseOfFitsWithoutIt) {
  const PairDifferences pairs = pair_differences(wavy(4), wavy_groups());
  const at::Tensor weight = fit_ridge(pairs, {}, 0.5);
  const at::Tensor exact = gaps_without_prompt(pairs, {}, 0.5, weight, true);
  expect_near(exact.narrow(0, 0, 4), {0.4859014090, -0.0802851334, -0.5433504915, 0.0181883769});
  const at::Tensor one_step = gaps_without_prompt(pairs, {}, 0.5, weight, false);
  EXPECT_LT(distance(one_step, exact), 0.05);
  const at::Tensor kept = at::mv(pairs.difference_PF, weight) - pairs.margin_P;
  EXPECT_LT(distance(one_step, exact), 0.1 * distance(kept, exact));
}

TEST(PairwiseRidge, OneStepWithoutAPromptComesNearTheRefitWithManyPrompts) {
  Rng rng(5, "test");
  at::Tensor x = at::zeros({600, 5}, at::kDouble);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data_ptr<double>()[i] = rng.normal();
  std::vector<ExpertFeatures::Group> groups;
  for (std::int64_t g = 0; g < 200; ++g) {
    groups.push_back({g * 3, 3, {}, g});
    for (std::int32_t other = 1; other < 3; ++other) {
      const bool first = (x[g * 3][0] - x[g * 3 + other][0]).item<double>() + rng.normal() > 0;
      groups.back().pairs.push_back({first ? 0 : other, first ? other : 0});
    }
  }
  const PairDifferences pairs = pair_differences(x, groups);
  const at::Tensor weight = fit_ridge(pairs, {}, 1.0);
  EXPECT_LT(distance(gaps_without_prompt(pairs, {}, 1.0, weight, false), gaps_without_prompt(pairs, {}, 1.0, weight, true)),
            0.01);
}

TEST(PairwiseRidge, StrengthIsTheOneWithTheSmallestLossOnPromptsLeftOut) {
  const PairDifferences pairs = pair_differences(wavy(4), wavy_groups());
  const RidgeChoice choice = choose_ridge(pairs, {}, {0.1, 10, 1, 100});
  const double expected[] = {0.7812692845, 0.7187728611, 0.7401580541, 0.7167381812};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(choice.held_out_loss[i], expected[i], 1e-7);
  EXPECT_EQ(choice.strength, 100);
  EXPECT_LT(distance(choice.weight_F, fit_ridge(pairs, {}, 100)), 1e-9);
  EXPECT_LT(distance(choice.held_out_gap_P, gaps_without_prompt(pairs, {}, 100, choice.weight_F, true)), 1e-9);
}

TEST(PairwiseRidge, AsManyFoldsAsPromptsLeaveEachPromptOut) {
  const PairDifferences pairs = pair_differences(wavy(4), wavy_groups());
  const RidgeChoice left_out = choose_ridge(pairs, {}, {1, 10}), folds = choose_ridge(pairs, {}, {1, 10}, 6, 3);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_NEAR(left_out.held_out_loss[i], folds.held_out_loss[i], 1e-9);
  EXPECT_LT(distance(left_out.held_out_gap_P, folds.held_out_gap_P), 1e-8);
  const PairDifferences wide = pair_differences(wavy(100), wavy_groups());
  const RidgeChoice once = choose_ridge(wide, {}, {1, 10}, 3, 3), again = choose_ridge(wide, {}, {1, 10}, 3, 3);
  EXPECT_TRUE(once.weight_F.equal(again.weight_F)) << "the seed decides";
  EXPECT_EQ(once.weight_F.size(0), 100);
}

/// Groups of two responses, of which the first is better if `signs` says so; one feature.
PairDifferences one_feature(const std::vector<double>& differences) {
  at::Tensor x = at::zeros({2 * static_cast<std::int64_t>(differences.size()), 1}, at::kDouble);
  std::vector<ExpertFeatures::Group> groups;
  for (std::size_t g = 0; g < differences.size(); ++g) {
    const auto first = static_cast<std::int64_t>(2 * g);
    x[first][0] = differences[g];
    groups.push_back({first, 2, {{0, 1}}, static_cast<std::int64_t>(g)});
  }
  return pair_differences(x, groups);
}

TEST(PairwiseRidge, SeparableDataHaveAFiniteFit) {
  const PairDifferences pairs = one_feature({1, 2, 3, 100});
  const double weight = fit_ridge(pairs, {}, 1e-6).item<double>();
  EXPECT_GT(weight, 5);
  EXPECT_LT(weight, 100);
  EXPECT_EQ(choose_ridge(pairs, {}, {1e-3, 1, 1e3}).strength, 1e-3);
}

TEST(PairwiseRidge, DifferencesThatSayNothingLeaveTheWeightsWhereThePenaltyDrawsThem) {
  const at::Tensor towards = at::full({1}, 0.7, at::kDouble);
  EXPECT_NEAR(fit_ridge(one_feature({0, 0, 0}), {towards}, 1).item<double>(), 0.7, 1e-12);
  EXPECT_NEAR(fit_ridge(one_feature({1, -1, 1, -1}), {}, 1).item<double>(), 0, 1e-12) << "labels that contradict each other";
  EXPECT_EQ(choose_ridge(one_feature({0, 0, 0}), {towards}, {1, 10}).strength, 10) << "the largest of equal ones";
  const PairDifferences none = pair_differences(at::zeros({4, 1}), {{0, 2, {}}, {2, 2, {}}});
  EXPECT_EQ(none.prompt_count, 0);
  EXPECT_NEAR(choose_ridge(none, {towards}, {1, 10}).weight_F.item<double>(), 0.7, 1e-12);
}

TEST(PairwiseRidge, OnePromptCannotChooseAStrength) {
  const RidgeChoice choice = choose_ridge(one_feature({2}), {}, {0.1, 10});
  EXPECT_EQ(choice.strength, 10);
  EXPECT_TRUE(choice.held_out_loss.empty());
  const double w = choice.weight_F.item<double>();  // strength * w = 2 * s(-2 w)
  EXPECT_NEAR(10 * w, 2 / (1 + std::exp(2 * w)), 1e-9);
}

TEST(PairwiseRidge, TargetsOfAHalfSayNothing) {
  at::Tensor x = at::tensor({1.0, 0.0, 3.0, 0.0}, at::kDouble).view({4, 1});
  const std::vector<ExpertFeatures::Group> groups = {{0, 2, {{0, 1, 0.0F, 0.5F}}}, {2, 2, {{0, 1, 0.0F, 0.5F}}}};
  EXPECT_NEAR(fit_ridge(pair_differences(x, groups), {}, 0.1).item<double>(), 0, 1e-12);
}

TEST(PairwiseRidge, RefusesWhatHasNoSolution) {
  at::Tensor x = at::zeros({2, 1});
  x[0][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(pair_differences(x, {{0, 2, {{0, 1}}}}), DataError);
  const at::Tensor nothing = at::zeros({1, 1}, at::kDouble);
  EXPECT_THROW(fit_ridge(one_feature({0, 0}), {{}, nothing}, 1), NumericError);
}

}  // namespace
}  // namespace dmoerm::moe
