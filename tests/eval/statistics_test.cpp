#include "eval/statistics.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace dmoerm::eval {
namespace {

/// Groups of 5 pairs that share the group's own accuracy, so that pairs are not independent, as in real data.
std::vector<GroupResult> simulate(Rng& rng, int groups, double accuracy) {
  std::vector<GroupResult> results;
  for (int g = 0; g < groups; ++g) {
    const double own = std::min(1.0, std::max(0.0, accuracy + 0.2 * rng.normal()));
    GroupResult result{0, 5};
    for (int p = 0; p < 5; ++p) result.right += rng.uniform() < own ? 1 : 0;
    results.push_back(result);
  }
  return results;
}

TEST(BootstrapAccuracy, CoversTheTruthAsOftenAsStated) {
  Rng rng(7);
  int covered = 0;
  const int trials = 200;
  for (int t = 0; t < trials; ++t) {
    const Interval i = bootstrap_accuracy(simulate(rng, 60, 0.6), static_cast<std::uint64_t>(t), 400);
    covered += i.low <= 0.6 && 0.6 <= i.high ? 1 : 0;
  }
  EXPECT_GE(covered, 178);  // four standard deviations below 190, which is 95 % of 200
  EXPECT_LE(covered, 199);
}

/// The same results, each as several groups of one prompt.
std::vector<GroupResult> split_up(const std::vector<GroupResult>& results, int rows) {
  std::vector<GroupResult> split;
  for (std::size_t g = 0; g < results.size(); ++g) {
    for (int row = 0; row < rows; ++row)
      split.push_back({results[g].right / rows, results[g].pairs / rows, static_cast<std::int64_t>(g)});
  }
  return split;
}

TEST(BootstrapAccuracy, DrawsPromptsNotTheRowsThatStateThem) {
  Rng rng(11);
  const std::vector<GroupResult> results = simulate(rng, 40, 0.6), rows = split_up(results, 6);
  const Interval whole = bootstrap_accuracy(results, 1), split = bootstrap_accuracy(rows, 1);
  EXPECT_NEAR(split.low, whole.low, 1e-9);
  EXPECT_NEAR(split.high, whole.high, 1e-9);
  std::vector<GroupResult> independent = rows;
  for (GroupResult& r : independent) r.prompt = -1;
  const Interval narrow = bootstrap_accuracy(independent, 1);
  EXPECT_LT(narrow.high - narrow.low, 0.6 * (whole.high - whole.low)) << "as if there were six times as many prompts";
  const Interval perfect = bootstrap_accuracy(split_up(std::vector<GroupResult>(8, {1, 1}), 5), 1);
  EXPECT_NEAR(perfect.low, 0.6756, 1e-4) << "Wilson's interval of eight prompts";
}

TEST(BootstrapDifference, DrawsThePromptsOfBoth) {
  Rng rng(12);
  const auto a = simulate(rng, 40, 0.7), b = simulate(rng, 40, 0.6);
  const Interval whole = bootstrap_difference(a, b, 1), split = bootstrap_difference(split_up(a, 3), split_up(b, 3), 1);
  EXPECT_NEAR(split.low, whole.low, 1e-9);
  EXPECT_NEAR(split.high, whole.high, 1e-9);
}

TEST(ByPrompt, SumsTheGroupsOfEachPrompt) {
  const auto sums = by_prompt({{1, 2, 7}, {3, 3, -1}, {0, 1, 7}, {1, 1, -1}, {2, 2, 4}});
  ASSERT_EQ(sums.size(), 4U);
  EXPECT_EQ(sums[0].right, 1);
  EXPECT_EQ(sums[0].pairs, 3);
  EXPECT_EQ(sums[1].pairs, 3) << "groups without a number stand alone";
  EXPECT_EQ(sums[3].pairs, 2);
}

TEST(BootstrapAccuracy, IsDeterministicAndDefinedWithoutPairs) {
  Rng rng(1);
  const auto results = simulate(rng, 30, 0.7);
  const Interval a = bootstrap_accuracy(results, 5), b = bootstrap_accuracy(results, 5);
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_LT(a.low, a.value);
  EXPECT_GT(a.high, a.value);
  EXPECT_EQ(bootstrap_accuracy({}, 1).value, 0.5);
  EXPECT_EQ(bootstrap_accuracy({GroupResult{0, 0}}, 1).low, 0.0);
}

TEST(BootstrapAccuracy, StaysUnsureWhenFewGroupsAgree) {
  const Interval perfect = bootstrap_accuracy(std::vector<GroupResult>(8, {1, 1}), 1);  // figures of Wilson's interval
  EXPECT_EQ(perfect.value, 1.0);
  EXPECT_NEAR(perfect.low, 0.6756, 1e-4);
  EXPECT_EQ(perfect.high, 1.0);
  const Interval one = bootstrap_accuracy({{0, 3}, {0, 0}}, 1);
  EXPECT_EQ(one.low, 0.0);
  EXPECT_NEAR(one.high, 0.7935, 1e-4) << "one group with pairs";
}

TEST(BootstrapDifference, ShowsASmallGapByPairing) {
  Rng rng(3);
  const auto worse = simulate(rng, 80, 0.6);
  auto better = worse;
  for (std::size_t g = 0; g < better.size(); g += 4) better[g].right = std::min(5.0, better[g].right + 1);
  const Interval gap = bootstrap_difference(better, worse, 1);
  EXPECT_GT(gap.low, 0.0);
  EXPECT_LT(bootstrap_accuracy(better, 1).low, bootstrap_accuracy(worse, 1).high);  // unpaired, the intervals overlap
  EXPECT_THROW(bootstrap_difference(better, {}, 1), std::logic_error);
}

TEST(MarkdownTable, AlignsCharactersNotBytes) {
  EXPECT_EQ(markdown_table({{"a", "bb"}, {"ä角", "c"}}), "| a   | bb  |\n|-----|-----|\n| ä角  | c   |\n");
  EXPECT_EQ(markdown_table({{"a|b", "c"}, {"d\ne", "f"}}), "| a\\|b | c   |\n|------|-----|\n| d e  | f   |\n")
      << "names of categories and models may hold what ends a cell";
}

TEST(CalibrationError, AveragesTheGapBetweenConfidenceAndAccuracyOverBins) {
  EXPECT_DOUBLE_EQ(calibration_error({}, {}), 0.0);
  EXPECT_NEAR(calibration_error({0.75, 0.75, 0.75, 0.75}, {true, true, true, false}), 0.0, 1e-12);
  EXPECT_NEAR(calibration_error({1.0, 1.0}, {true, false}), 0.5, 1e-12) << "the last bin holds 1.0";
  // Bins of opposite sign do not cancel: confidence 0.9 and 0 right, confidence 0.1 and 1 right.
  EXPECT_NEAR(calibration_error({0.95, 0.15}, {false, true}), (0.95 + 0.85) / 2, 1e-12);
  // Bins are weighted by members: three of four are in a bin that is off by 0.3.
  EXPECT_NEAR(calibration_error({0.7, 0.7, 0.7, 0.2}, {true, true, true, false}), (0.9 + 0.2) / 4, 1e-12);
}

}  // namespace
}  // namespace dmoerm::eval
