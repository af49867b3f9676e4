#include "evidence/cell_results.h"

#include <gtest/gtest.h>

#include <cmath>

namespace dmoerm::evidence {
namespace {

CategoryResult category(const std::vector<double>& a, const std::vector<double>& b) {
  CategoryResult result;
  for (std::size_t g = 0; g < a.size(); ++g) {
    result.ids.push_back(std::to_string(g));
    result.clusters.push_back(static_cast<std::int64_t>(g));
    result.pairs.push_back(1);
  }
  result.arms["a"].groups = a;
  result.arms["b"].groups = b;
  return result;
}

TEST(CellResults, CategoriesCountTheSameWhateverTheirSize) {
  const CategoryResult small = category({1, 1}, {0, 0}), large = category({0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0});
  EXPECT_DOUBLE_EQ(macro({&small, &large}, "a", "")->value, 0.5);
  EXPECT_DOUBLE_EQ(macro({&small, &large}, "a", "b")->value, 0.5);
}

TEST(CellResults, TheIntervalIsThatOfTheMean) {
  std::vector<double> a, b;
  for (int i = 0; i < 400; ++i) a.push_back(i % 2), b.push_back(0);
  const CategoryResult one = category(a, b);
  const Estimate e = macro({&one}, "a", "b").value();
  // The standard error of a mean of 400 numbers 0 and 1 is 0.5 / 20.
  EXPECT_NEAR(e.error, 0.025, 0.001);
  EXPECT_NEAR(e.low, 0.5 - 1.96 * 0.025, 0.004);
  EXPECT_NEAR(e.high, 0.5 + 1.96 * 0.025, 0.004);
}

TEST(CellResults, PercentilesAreThoseOfEval) {
  std::vector<double> a, b;
  for (int i = 0; i < 40; ++i) a.push_back(i % 2), b.push_back(0);
  const CategoryResult one = category(a, b);
  const Estimate e = macro({&one}, "a", "", 2).value();
  ASSERT_GT(e.error, 0);
  // Two resamples lie a standard deviation above and below their mean; 2.5 % of the way between them is cut off at each end.
  EXPECT_NEAR(e.high - e.low, 0.95 * 2 * e.error, 1e-12);
}

TEST(CellResults, GroupsOfOneClusterAreDrawnTogether) {
  std::vector<double> a, b;
  for (int i = 0; i < 400; ++i) a.push_back(i / 40 % 2), b.push_back(0);
  CategoryResult one = category(a, b);
  for (std::size_t g = 0; g < one.clusters.size(); ++g) one.clusters[g] = static_cast<std::int64_t>(g / 40);
  // Ten clusters, each of which is all 0 or all 1.
  EXPECT_NEAR(macro({&one}, "a", "b")->error, 0.5 / std::sqrt(10.0), 0.01);
}

TEST(CellResults, AClusterOfSeveralCategoriesIsDrawnAsAWhole) {
  std::vector<double> a, turned, b;
  for (int i = 0; i < 400; ++i) a.push_back(i % 2), turned.push_back(1 - i % 2), b.push_back(0);
  CategoryResult one = category(a, b), same = one, opposite = category(turned, b);
  EXPECT_NEAR(macro({&one, &same}, "a", "b")->error, 0.025 / std::sqrt(2.0), 0.001) << "blocks of lines have their own numbers";
  for (CategoryResult* result : {&one, &same, &opposite}) result->clusters_over_all = true;
  EXPECT_NEAR(macro({&one, &same}, "a", "b")->error, 0.025, 0.001) << "two categories of the same documents know no more";
  EXPECT_NEAR(macro({&one, &opposite}, "a", "b")->error, 0, 1e-9);
  CategoryResult few = category({1, 1, 1}, {0, 0, 0}), again = few, third = few;
  for (CategoryResult* result : {&few, &again, &third}) result->clusters_over_all = true;
  EXPECT_GE(p_of_difference(macro({&few, &again, &third}, "a", "b").value()), 0.25) << "three documents, and not nine";
}

TEST(CellResults, AnArmThatACategoryLacksHasNoFigure) {
  const CategoryResult one = category({1}, {0});
  EXPECT_FALSE(macro({&one}, "c", ""));
  EXPECT_FALSE(macro({&one}, "a", "c"));
  EXPECT_FALSE(macro({}, "a", ""));
}

TEST(CellResults, FewGroupsShowNeitherADifferenceNorThatThereIsNone) {
  const CategoryResult better = category({1, 1, 1}, {0, 0, 0}), equal = category({1, 1, 1}, {1, 1, 1});
  const Estimate difference = macro({&better}, "a", "b").value(), none = macro({&equal}, "a", "b").value();
  EXPECT_LT(difference.low, 0);
  EXPECT_GT(p_of_difference(difference), 0.05);
  EXPECT_LT(none.low, -0.5);
  EXPECT_GT(none.high, 0.5);
  EXPECT_GT(p_of_distance(none, 0.02), 0.9);
}

TEST(CellResults, CategoriesOfOneClusterAreNotKnownExactly) {
  std::vector<double> a(200, 1), b(200, 1);
  for (std::size_t g = 0; g < 4; ++g) a[g] = 0, b[g + 4] = 0;
  const CategoryResult large = category(a, b), better = category({1}, {0}), worse = category({0}, {1});
  const auto with_singles = [&](int first_right) {
    std::vector<const CategoryResult*> categories = {&large};
    for (int s = 0; s < 10; ++s) categories.push_back(s < first_right ? &better : &worse);
    return categories;
  };
  const Estimate seven = macro(with_singles(7), "a", "b").value(), even = macro(with_singles(5), "a", "b").value();
  EXPECT_NEAR(seven.value, 4.0 / 11, 1e-12);
  EXPECT_LT(seven.low, 0);
  EXPECT_GT(p_of_difference(seven), 0.2) << "seven single prompts against three";
  EXPECT_FALSE(seven.few.empty()) << "so that it is marked";
  EXPECT_LT(even.low, -0.3);
  EXPECT_GT(p_of_distance(even, 0.02), 0.9);
  const Estimate alone = macro(with_singles(7), "a", "").value();
  EXPECT_LT(alone.low, 0.5);
  EXPECT_LT(alone.high, 0.95);
  EXPECT_TRUE(macro({&large, &large}, "a", "")->few.empty()) << "categories whose clusters differ";
}

TEST(CellResults, ProbabilitiesAreThoseOfTheNormalDistribution) {
  const Estimate e{.value = 0.0196, .low = 0, .high = 0, .error = 0.01};
  EXPECT_NEAR(p_of_difference(e), 0.05, 1e-4);
  // 0.02 lies 0.04 standard errors above, -0.02 lies 3.96 below.
  EXPECT_NEAR(p_of_distance(e, 0.02), 0.48405, 1e-4);
}

}  // namespace
}  // namespace dmoerm::evidence
