// Figures of scipy 1.x, statsmodels and numpy for the same numbers, and properties of the resampling.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "eval/calibration.h"
#include "eval/correlation.h"
#include "eval/interval.h"
#include "eval/paired_difference.h"
#include "eval/resampling.h"
#include "eval/significance.h"

namespace dmoerm::eval {
namespace {

TEST(McNemar, EqualsStatsmodels) {
  EXPECT_NEAR(mcnemar(3, 12), 0.03515625, 1e-12);
  EXPECT_NEAR(mcnemar(0, 5), 0.0625, 1e-12);
  EXPECT_NEAR(mcnemar(25, 17), 0.27995623852893914, 1e-10);
  EXPECT_NEAR(mcnemar(400, 330), 0.010605994778707762, 1e-9);
  EXPECT_EQ(mcnemar(1, 1), 1.0);
  EXPECT_EQ(mcnemar(0, 0), 1.0);
}

TEST(Holm, EqualsStatsmodels) {
  const std::vector<double> adjusted = holm({0.01, 0.04, 0.03, 0.005, 0.5}), expected = {0.04, 0.09, 0.09, 0.025, 0.5};
  ASSERT_EQ(adjusted.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(adjusted[i], expected[i], 1e-12);
}

TEST(Wilson, EqualsStatsmodels) {
  const Interval interval = wilson(13.0 / 20, 20);
  EXPECT_NEAR(interval.low, 0.43285427668523624, 1e-6);
  EXPECT_NEAR(interval.high, 0.818808175898918, 1e-6);
}

TEST(Spearman, EqualsScipyWithTies) {
  const std::vector<double> x = {1.2, 3.4, 3.4, 0.1, 5.5, 2.2, 2.2, 2.2}, y = {2, 9, 4, 1, 9, 3, 8, 5};
  EXPECT_EQ(ranks_of(x), (std::vector<double>{2, 6.5, 6.5, 1, 8, 4, 4, 4}));
  EXPECT_NEAR(spearman(x, y), 0.8335874758623687, 1e-12);
  EXPECT_TRUE(std::isnan(spearman({1, 1, 1}, {1, 2, 3}))) << "a constant list";
  EXPECT_TRUE(std::isnan(spearman({1}, {1})));
}

const std::vector<double> kGaps = {-2, -.5, .1, .3, .8, 1.5, 2.5, 0, 3, -.2, .6, .9};

TEST(Calibration, EqualsNumpyAndScipy) {
  EXPECT_NEAR(calibration_error(reliability(kGaps)), 0.2128390813864868, 1e-12);
  EXPECT_NEAR(log_loss(kGaps), 0.6058063170601258, 1e-12);
  EXPECT_NEAR(best_temperature(kGaps).value(), 1.3635869768150342, 1e-5);
}

TEST(Calibration, IsDefinedForScoresThatSayNothing) {
  EXPECT_EQ(best_temperature({0, 0}), 1);
  EXPECT_EQ(calibration_error(reliability({})), 0);
  EXPECT_NEAR(calibration_error(reliability({0, 0})), 0, 1e-12) << "half right, with confidence one half";
  EXPECT_FALSE(best_temperature({-1, -2})) << "wrong everywhere: every higher temperature is better";
  EXPECT_FALSE(best_temperature({1, -2})) << "wrong by more than right";
  EXPECT_FALSE(best_temperature({10, 20})) << "right everywhere: every lower one is";
  const double small = best_temperature({1e-5, -2e-6, 1e-5}).value(), large = best_temperature({1e4, -2e3, 1e4}).value();
  EXPECT_NEAR(large / small, 1e9, 1e3) << "a scale of its own";
}

TEST(MarkdownMarks, CountsMarksAndNotText) {
  EXPECT_EQ(markdown_marks("plain text - with a dash, 3.5 and #tag"), 0);
  EXPECT_EQ(markdown_marks("# Title\n\n- one\n- two\n1. three\n> quote"), 5);
  EXPECT_EQ(markdown_marks("**bold** and `code`\n```\nx\n```"), 4);
  EXPECT_EQ(markdown_marks("| a | b |\n|---|---|"), 2);
}

TEST(Percentile, IsTheDefaultOfNumpy) {
  const std::vector<double> draws = {10, 1, 4, 2, 3};  // numpy.percentile(draws, [2.5, 97.5]), and [5, 95]
  const Interval narrow = percentile_interval(3, draws), narrower = percentile_interval(3, draws, 0.9);
  EXPECT_NEAR(narrow.low, 1.1, 1e-12);
  EXPECT_NEAR(narrow.high, 9.4, 1e-12);
  EXPECT_NEAR(narrower.low, 1.2, 1e-12);
  EXPECT_NEAR(narrower.high, 8.8, 1e-12);
  EXPECT_EQ(percentile({5}, 0.975), 5);
  EXPECT_EQ(percentile({1, 2, 6}, 1), 6);
  EXPECT_EQ(percentile_interval(3, {}).high, 3);
}

std::vector<Cluster> clusters_of(const std::vector<std::vector<double>>& right, double pairs) {
  std::vector<Cluster> clusters;
  for (const auto& r : right) {
    std::vector<double> shares;
    for (const double x : r) shares.push_back(x / pairs);
    clusters.push_back({pairs, 1, r, shares});
  }
  return clusters;
}

TEST(Resample, GivesAllModelsTheSameDraws) {
  std::vector<std::vector<double>> right;
  for (int i = 0; i < 40; ++i) right.push_back({i % 3 == 0 ? 1.0 : 2.0, i % 3 == 0 ? 1.5 : 2.5});
  const Accuracies a = resample(clusters_of(right, 4), 2, 5, "test", 500);
  const Interval gap = percentile_interval(a.pooled.value[1] - a.pooled.value[0], a.pooled.differences(1, 0));
  EXPECT_NEAR(gap.low, 0.125, 1e-12) << "half a pair of four in every cluster, so in every draw";
  EXPECT_NEAR(gap.high, 0.125, 1e-12);
  EXPECT_LT(a.pooled.interval(0).low, a.pooled.interval(0).high);
  EXPECT_NEAR(a.pooled.value[0], a.by_prompt.value[0], 1e-12) << "clusters of equal size";
  const std::vector<double> differences = a.pooled.differences(1, 0);
  EXPECT_NEAR(bootstrap_p(differences), 2.0 / 501, 1e-12);
  EXPECT_NEAR(equivalence_p(differences, 0.2), 1.0 / 501, 1e-12) << "within the margin in every draw";
  EXPECT_EQ(equivalence_p(differences, 0.1), 1.0);
  EXPECT_EQ(bootstrap_p({}), 1.0);
}

TEST(Resample, CountsPairsOrPrompts) {
  std::vector<Cluster> clusters = clusters_of({{4}}, 4);
  clusters.push_back({1, 1, {0}, {0}});
  clusters.push_back({0, 0, {0}, {0}});
  const Accuracies a = resample(clusters, 1, 1, "test", 100);
  EXPECT_NEAR(a.pooled.value[0], 0.8, 1e-12);
  EXPECT_NEAR(a.by_prompt.value[0], 0.5, 1e-12);
  EXPECT_EQ(a.pooled.trials, 2) << "a cluster without pairs does not count";
}

TEST(Resample, IsDefinedWithoutPairs) {
  const Accuracies none = resample({}, 2, 1, "test", 100);
  EXPECT_EQ(none.pooled.value, (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(none.pooled.interval(1).high, 1);
  const Accuracies perfect = resample(clusters_of(std::vector<std::vector<double>>(8, {1}), 1), 1, 1, "test", 100);
  EXPECT_NEAR(perfect.pooled.interval(0).low, 0.6756, 1e-4) << "Wilson's interval of eight clusters";
}

TEST(BetaShare, EqualsSumsOfBinomials) {
  EXPECT_NEAR(beta_share(0.3, 2, 5), 0.579825, 1e-12);
  EXPECT_NEAR(beta_share(0.98, 497, 4), 0.009812155535351053, 1e-12);
  EXPECT_NEAR(beta_share(0.5, 0.5, 0.5), 0.5, 1e-12);
  EXPECT_EQ(beta_share(0, 1, 1), 0);
  EXPECT_EQ(beta_share(1, 1, 1), 1);
}

/// As eval finds them: clusters of one pair each, and 2000 resamples.
PairedDifference difference_of(const std::vector<double>& differences, double* level = nullptr) {
  std::vector<std::vector<double>> right;
  std::vector<PairedCluster> paired;
  for (const double d : differences) {
    right.push_back({std::max(d, 0.0), std::max(-d, 0.0)});
    paired.push_back({1, d});
  }
  const Resampled resampled = resample(clusters_of(right, 1), 2, 3, "test", 2000).pooled;
  const std::vector<double> draws = resampled.differences(0, 1);
  if (level != nullptr) *level = level_p(paired, draws, 0.02);
  return paired_difference(resampled.value[0] - resampled.value[1], paired, draws);
}

TEST(PairedDifference, FewClustersShowNothingHoweverTheyAgree) {
  for (std::size_t n = 1; n < 6; ++n) {
    const PairedDifference d = difference_of(std::vector<double>(n, 1.0));
    EXPECT_TRUE(d.interval.bounded);
    EXPECT_LT(d.interval.low, 0) << n;
    EXPECT_EQ(d.interval.high, 1);
    EXPECT_NEAR(d.p, 2 * std::pow(0.5, static_cast<double>(n)), 1e-12) << "that of McNemar's test";
    const PairedDifference worse = difference_of(std::vector<double>(n, -0.4));
    EXPECT_GT(worse.interval.high, 0) << n;
    EXPECT_GT(worse.p, 0.05) << n;
    std::vector<double> among_equals(40, 0);
    for (std::size_t i = 0; i < n; ++i) among_equals[i] = 1 - 0.1 * static_cast<double>(i);
    const PairedDifference some = difference_of(among_equals);
    EXPECT_LE(some.interval.low, 0) << n;
    EXPECT_GT(some.p, 0.05) << n;
  }
}

TEST(PairedDifference, ManyClustersThatAgreeShowADifferenceWithAnInterval) {
  for (const double d : {1.0, 0.25, -0.5}) {
    for (const std::size_t n : {6U, 20U}) {
      const PairedDifference found = difference_of(std::vector<double>(n, d));
      EXPECT_NEAR(found.interval.value, d, 1e-12);
      EXPECT_GT(found.interval.low * found.interval.high, 0) << d << " in " << n;
      EXPECT_GT(found.interval.high - found.interval.low, 0.05) << d << " in " << n;
      EXPECT_LT(found.p, 0.05);
      EXPECT_GE(found.p, 2 * std::pow(0.5, static_cast<double>(n)));
    }
  }
}

TEST(PairedDifference, OtherwiseIsThatOfTheResamples) {
  std::vector<double> differences;
  for (int i = 0; i < 60; ++i) differences.push_back(i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : -0.5);
  const PairedDifference found = difference_of(differences);
  EXPECT_FALSE(found.interval.bounded);
  EXPECT_GT(found.interval.low, -0.05);
  EXPECT_LT(found.interval.high, 0.4);
}

TEST(PairedDifference, AClusterThatOutweighsTheOthersIsOneCluster) {
  std::vector<PairedCluster> clusters(100, {0.005, 0});
  for (std::size_t i = 0; i < clusters.size(); ++i) clusters[i].difference = i % 2 == 0 ? 0.5 : -0.5;
  clusters.push_back({0.5, 1});  // a category of one prompt beside one of a hundred
  const PairedDifference found = paired_difference(0.5, clusters, std::vector<double>{0.45, 0.5, 0.5, 0.55});
  EXPECT_TRUE(found.interval.bounded);
  EXPECT_LT(found.interval.low, 0);
  EXPECT_GT(found.p, 0.05);
}

TEST(PairedDifference, NoClusterSaysNothing) {
  EXPECT_EQ(paired_difference(0, {}, {}).interval.low, -1);
  EXPECT_EQ(paired_difference(0, {}, {}).p, 1);
  EXPECT_EQ(level_p({}, {}, 0.02), 1);
}

TEST(LevelP, TiesOfFewClustersDoNotShowThatModelsAreLevel) {
  double level = 0;
  difference_of(std::vector<double>(6, 0), &level);
  EXPECT_NEAR(level, std::pow(0.98, 6), 1e-9) << "none of six clusters differs although 2 % do";
  difference_of({0.0}, &level);
  EXPECT_NEAR(level, 0.98, 1e-9);
  difference_of({0.01}, &level);
  EXPECT_GT(level, 0.9);
  difference_of(std::vector<double>(200, 0), &level);
  EXPECT_LT(level, 0.05) << "200 clusters would hold one that differs";
}

TEST(SumOf, WeighsStrataAndTheirClusters) {
  const std::vector<Cluster> first = {{1, 1, {1}, {1}, "a"}, {3, 1, {3}, {1}, "b"}}, second = {{2, 1, {1}, {0.5}, "b"}};
  const Resampled one = resample(first, 1, 1, "a", 100).pooled, other = resample(second, 1, 1, "b", 100).pooled;
  const std::vector<Stratum> strata = {{&one, 0.6, &first}, {&other, 0.6, &second}};
  const Resampled sum = sum_of(strata);
  EXPECT_NEAR(sum.value[0], 0.6 + 0.3, 1e-12);
  EXPECT_EQ(sum.draws.size(), 100U);
  EXPECT_NEAR(sum.draws[7][0], 0.9, 1e-12);
  const std::vector<Cluster> clusters = clusters_of_sum(strata);
  ASSERT_EQ(clusters.size(), 2U) << "b counts once";
  EXPECT_NEAR(clusters[0].pairs, 0.5 / 4, 1e-12);
  EXPECT_NEAR(clusters[1].pairs, 0.5 * 3 / 4 + 0.5, 1e-12);
  EXPECT_NEAR(clusters[0].right[0], 0.6 / 4, 1e-12);
  EXPECT_NEAR(clusters[0].right[0] + clusters[1].right[0], sum.value[0], 1e-12);
}

using Right = std::vector<std::vector<double>>;  // by cluster: what each of two models has right

/// The mean of strata that count the same.
struct MeanOfStrata {
  std::vector<std::vector<Cluster>> strata;
  Resampled sum;
  std::vector<PairedCluster> paired;

  explicit MeanOfStrata(const std::vector<Right>& right) {
    std::vector<Resampled> pooled;
    std::vector<Stratum> of;
    for (std::size_t s = 0; s < right.size(); ++s) {
      strata.push_back(clusters_of(right[s], 1));
      for (std::size_t c = 0; c < right[s].size(); ++c) strata[s][c].name = std::to_string(s) + "/" + std::to_string(c);
      pooled.push_back(resample(strata[s], 2, 1, "stratum " + std::to_string(s), 1000).pooled);
    }
    for (std::size_t s = 0; s < right.size(); ++s) of.push_back({&pooled[s], 1 / static_cast<double>(right.size()), &strata[s]});
    sum = sum_of(of);
    for (const Cluster& c : sum.clusters) paired.push_back({c.pairs, (c.right[0] - c.right[1]) / c.pairs, c.stratum});
  }
  [[nodiscard]] std::vector<double> draws() const { return sum.differences(0, 1); }
  [[nodiscard]] PairedDifference difference() const { return paired_difference(sum.value[0] - sum.value[1], paired, draws()); }
};

/// 200 clusters, of which each model alone is right in some.
Right nearly_equal(int first_alone, int second_alone) {
  Right right;
  for (int i = 0; i < 200; ++i)
    right.push_back({i < second_alone ? 0.0 : 1.0, i >= second_alone && i < second_alone + first_alone ? 0.0 : 1.0});
  return right;
}

/// Ten strata of one cluster, of which the first model is right in some and the second in the others, and a large one.
std::vector<Right> with_singles(int first_right, const Right& large) {
  std::vector<Right> strata = {large};
  for (int s = 0; s < 10; ++s) strata.push_back({{s < first_right ? 1.0 : 0.0, s < first_right ? 0.0 : 1.0}});
  return strata;
}

TEST(SumOf, StrataOfOneClusterAreNotKnownExactly) {
  const MeanOfStrata seven(with_singles(7, nearly_equal(4, 2)));
  const Interval first = seven.sum.interval(0);
  EXPECT_TRUE(first.bounded);
  EXPECT_NEAR(seven.sum.trials, 121 / (10 + 1.0 / 200), 1e-9) << "ten of one eleventh, and 200 that share one";
  EXPECT_NEAR(first.low, wilson(first.value, seven.sum.trials).low, 1e-12);
  const PairedDifference found = seven.difference();
  EXPECT_TRUE(found.interval.bounded);
  EXPECT_LT(found.interval.low, 0);
  EXPECT_GT(found.p, 0.2) << "seven single clusters against three";
  EXPECT_LT(found.p, 1);
  const MeanOfStrata even(with_singles(5, nearly_equal(4, 4)));
  EXPECT_NEAR(even.difference().interval.value, 0, 1e-12);
  EXPECT_LT(even.difference().interval.low, -0.3);
  EXPECT_GT(even.difference().p, 0.9);
  EXPECT_GT(level_p(even.paired, even.draws(), 0.02), 0.9);
}

TEST(SumOf, ManySingleClustersThatAgreeShowADifference) {
  const PairedDifference found = MeanOfStrata(with_singles(10, nearly_equal(4, 2))).difference();
  EXPECT_TRUE(found.interval.bounded);
  EXPECT_GT(found.interval.low, 0);
  EXPECT_LT(found.p, 0.05);
  EXPECT_GE(found.p, 2 * std::pow(0.5, 11)) << "that of eleven signs";
}

TEST(SumOf, StrataThatVaryKeepTheirResamples) {
  Right half, third;
  for (int i = 0; i < 40; ++i) half.push_back({i % 2 * 1.0, i % 3 == 0 ? 1.0 : 0.0}), third.push_back({i % 3 * 0.5, 0.5});
  const MeanOfStrata mean({half, third, {{1, 0}, {0, 1}}});
  std::vector<double> own;
  for (const auto& draw : mean.sum.draws) own.push_back(draw[0]);
  const Interval found = mean.sum.interval(0), resampled = percentile_interval(mean.sum.value[0], own);
  EXPECT_EQ(found.low, resampled.low);
  EXPECT_EQ(found.high, resampled.high);
  EXPECT_FALSE(found.bounded);
  EXPECT_FALSE(mean.difference().interval.bounded);
  EXPECT_EQ(mean.difference().interval.low, percentile_interval(0, mean.draws()).low);
}

TEST(HiddenByAgreement, CountsTheClustersOfStrataThatAllSayTheSame) {
  std::vector<PairedCluster> clusters;
  for (int i = 0; i < 400; ++i) clusters.push_back({1, i < 200 ? 0 : i % 2 * 1.0, i < 200 ? 0 : 1});
  EXPECT_NEAR(hidden_by_agreement(clusters), 0.5 * (1 - std::pow(0.025, 1.0 / 200)), 1e-9) << "half of them";
  EXPECT_TRUE(resamples_tell(clusters, {0.2, 0.3})) << "200 that agree hide less than others show";
  EXPECT_FALSE(resamples_tell(clusters, {0.24, 0.26}));
  clusters = {{1, 1, 0}, {1, 0, 0}, {1, 0.5, 1}, {1, 1, 1}};
  EXPECT_EQ(hidden_by_agreement(clusters), 0) << "the clusters of each stratum differ";
  EXPECT_EQ(hidden_by_agreement({}), 0);
}

TEST(DrawSharedTogether, AClusterOfTwoStrataIsDrawnAsAWhole) {
  std::vector<Cluster> half, other, alone;
  const auto cluster = [](double right, const std::string& name) { return Cluster{1, 1, {right}, {right}, name}; };
  for (int i = 0; i < 100; ++i) {
    half.push_back(cluster(i % 2, "d" + std::to_string(i)));
    other.push_back(cluster(1 - i % 2, "d" + std::to_string(i)));
    alone.push_back(cluster(i % 2, "e" + std::to_string(i)));
  }
  const auto mean = [](const std::vector<std::vector<Cluster>>& strata) {
    std::vector<Resampled> pooled;
    for (std::size_t s = 0; s < strata.size(); ++s)
      pooled.push_back(resample(strata[s], 1, 1, "stratum " + std::to_string(s), 500).pooled);
    draw_shared_together(strata, pooled, 1, "test");
    std::vector<Stratum> of;
    for (std::size_t s = 0; s < strata.size(); ++s) of.push_back({&pooled[s], 0.5, &strata[s]});
    return sum_of(of);
  };
  const auto width = [](const Resampled& r) {
    std::vector<double> draws;
    for (const auto& draw : r.draws) draws.push_back(draw[0]);
    const Interval interval = percentile_interval(r.value[0], std::move(draws));
    return interval.high - interval.low;
  };
  // What a cluster gains in one stratum it loses in the other.
  EXPECT_NEAR(width(mean({half, other})), 0, 1e-12);
  EXPECT_NEAR(mean({half, other}).trials, 100, 1e-9) << "each once";
  EXPECT_NEAR(width(mean({half, half})), 2 * 1.96 * 0.5 / 10, 0.03) << "two strata of the same know no more than one";
  EXPECT_NEAR(width(mean({half, alone})), 2 * 1.96 * 0.5 / 10 / std::sqrt(2.0), 0.03);
  EXPECT_NEAR(mean({half, alone}).trials, 200, 1e-9);
}

TEST(DrawSharedTogether, AStratumThatAResampleLeavesOutKeepsItsValue) {
  const std::vector<std::vector<Cluster>> strata = {{{1, 1, {1}, {1}, "a"}}, {{1, 1, {0}, {0}, "a"}, {1, 1, {1}, {1}, "b"}}};
  std::vector<Resampled> pooled;
  for (const auto& clusters : strata) pooled.push_back(resample(clusters, 1, 1, "stratum", 200).pooled);
  draw_shared_together(strata, pooled, 1, "test");
  for (const auto& draw : pooled[0].draws) EXPECT_EQ(draw[0], 1);
  EXPECT_TRUE(std::ranges::any_of(pooled[1].draws, [](const auto& draw) { return draw[0] == 1; }));
}

TEST(DropRounding, DifferencesThatAreEqualButForRoundingHaveOneRank) {
  std::vector<double> differences = {0.3 - 0.2, 0.2 - 0.1, 1.1 - 1.0, -0.1, 0.1 + 1e-6};
  EXPECT_NE(differences[0], differences[1]);
  drop_rounding(differences, {0.1, 0.2, 0.3, 1.0, 1.1});
  EXPECT_EQ(ranks_of(differences), (std::vector<double>{3, 3, 3, 1, 5}));
  std::vector<double> none = {0, 0};
  drop_rounding(none, {0, 0});
  EXPECT_EQ(none, (std::vector<double>{0, 0}));
}

}  // namespace
}  // namespace dmoerm::eval
