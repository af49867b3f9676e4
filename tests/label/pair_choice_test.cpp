// Tests that the choice of pairs is reproducible, fair to responses and groups, and within the budget.
#include "label/pair_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/rng.h"

namespace dmoerm::label {
namespace {

TEST(PairChoice, AllPairsHasEachPairOnce) {
  EXPECT_EQ(all_pairs(3), (std::vector<ResponsePair>{{0, 1}, {0, 2}, {1, 2}}));
  EXPECT_TRUE(all_pairs(1).empty());
  EXPECT_TRUE(all_pairs(0).empty());
}

TEST(PairChoice, DrawCoversEveryResponseFirstAndStaysEven) {
  for (int n = 2; n <= 13; ++n) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const std::vector<ResponsePair> drawn = draw_pairs(seed, {"g", n}, 1000);
      std::vector<ResponsePair> sorted = drawn;
      std::ranges::sort(sorted);
      ASSERT_EQ(sorted, all_pairs(n)) << n;
      std::vector<int> times(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < drawn.size(); ++i) {
        ++times[static_cast<std::size_t>(drawn[i].a)];
        ++times[static_cast<std::size_t>(drawn[i].b)];
        const auto [least, most] = std::ranges::minmax(times);
        if (i + 1 >= static_cast<std::size_t>(n + 1) / 2) {
          ASSERT_GE(least, 1) << n << " responses, " << i + 1 << " pairs";
        }
        ASSERT_LE(most - least, n % 2 == 0 ? 1 : 2) << n << " responses, " << i + 1 << " pairs";
      }
    }
  }
}

TEST(PairChoice, DrawDependsOnSeedAndGroupAlone) {
  const GroupSize group{"group", 9};
  const std::vector<ResponsePair> five = draw_pairs(1, group, 5), twelve = draw_pairs(1, group, 12);
  ASSERT_EQ(five.size(), 5U);
  EXPECT_TRUE(std::equal(five.begin(), five.end(), twelve.begin()));
  EXPECT_NE(five, draw_pairs(2, group, 5));
  EXPECT_NE(five, draw_pairs(1, {"other", 9}, 5));
  EXPECT_TRUE(draw_pairs(1, group, 0).empty());
  EXPECT_TRUE(draw_pairs(1, {"alone", 1}, 3).empty());
  EXPECT_EQ(draw_pairs(17, {"pinned", 5}, 3), (std::vector<ResponsePair>{{0, 3}, {2, 4}, {1, 2}}))
      << "labels made with a seed are found again only if the draw stays";
}

TEST(PairChoice, EveryPairIsDrawnAboutEquallyOften) {
  std::map<ResponsePair, int> times;
  for (std::uint64_t seed = 0; seed < 6000; ++seed) ++times[draw_pairs(seed, {"g", 4}, 1).front()];
  ASSERT_EQ(times.size(), 6U);
  for (const auto& [pair, count] : times) EXPECT_NEAR(count, 1000, 5 * std::sqrt(1000 * 5.0 / 6)) << pair.a << ' ' << pair.b;
}

TEST(PairChoice, UncertainPairsHaveTheSmallestGapsOfAllGroups) {
  const std::vector<GroupSize> groups = {{"x", 3}, {"y", 2}, {"z", 2}};
  const std::vector<GapTable> gaps = {{{{0, 1}, 0.5}, {{0, 2}, -0.1}, {{1, 2}, NAN}}, {{{0, 1}, 0.2}}, {}};
  const std::vector<ChosenPair> chosen = uncertain_pairs(3, groups, gaps, 10);
  ASSERT_EQ(chosen.size(), 5U);
  EXPECT_EQ(chosen[0], (ChosenPair{0, {0, 2}}));
  EXPECT_EQ(chosen[1], (ChosenPair{1, {0, 1}}));
  EXPECT_EQ(chosen[2], (ChosenPair{0, {0, 1}}));
  EXPECT_EQ(uncertain_pairs(3, groups, gaps, 2), (std::vector<ChosenPair>{chosen[0], chosen[1]}));
  EXPECT_TRUE(uncertain_pairs(3, groups, gaps, 0).empty());
}

TEST(PairChoice, UncertainPairsDoNotDependOnTheOrderOfGroups) {
  std::vector<GroupSize> groups;
  std::vector<GapTable> gaps;
  Rng rng(9, "gaps");
  for (int g = 0; g < 20; ++g) {
    groups.push_back({"g" + std::to_string(g), 4});
    gaps.emplace_back();
    for (const ResponsePair& pair : all_pairs(4)) gaps.back()[pair] = static_cast<double>(rng.below(5)) / 4;  // many are equal
  }
  const auto named = [](const std::vector<GroupSize>& of, const std::vector<ChosenPair>& chosen) {
    std::vector<std::pair<std::string, ResponsePair>> result;
    for (const ChosenPair& c : chosen) result.emplace_back(of[c.group].id, c.pair);
    return result;
  };
  const auto before = named(groups, uncertain_pairs(1, groups, gaps, 37));
  std::ranges::reverse(groups);
  std::ranges::reverse(gaps);
  EXPECT_EQ(named(groups, uncertain_pairs(1, groups, gaps, 37)), before);
}

TEST(PairChoice, AddsThePairsOfWhichTheExpertIsLeastSure) {
  const std::vector<GroupSize> groups = {{"x", 3}, {"y", 3}, {"z", 2}};
  // By size: y(0,2) 0.1, x(0,1) 0.2, y(1,2) 0.3, x(1,2) 0.4, z(0,1) 0.5, y(0,1) 0.6, x(0,2) 0.7
  const std::vector<GapTable> gaps = {
      {{{0, 1}, 0.2}, {{0, 2}, 0.7}, {{1, 2}, -0.4}}, {{{0, 1}, 0.6}, {{0, 2}, -0.1}, {{1, 2}, 0.3}}, {{{0, 1}, 0.5}}};
  const std::vector<ChosenPair> kept = {{1, {0, 1}}, {0, {0, 1}}};
  using Pairs = std::vector<ChosenPair>;
  EXPECT_EQ(add_uncertain_pairs(1, groups, gaps, kept, 2, 4), (Pairs{{1, {0, 1}}, {0, {0, 1}}, {1, {0, 2}}, {0, {1, 2}}}))
      << "y(1,2) would be the third pair of its group";
  EXPECT_EQ(add_uncertain_pairs(1, groups, gaps, kept, 3, 4), (Pairs{{1, {0, 1}}, {0, {0, 1}}, {1, {0, 2}}, {1, {1, 2}}}));
  EXPECT_EQ(add_uncertain_pairs(1, groups, gaps, kept, 2, 100).size(), 5U) << "two of x, two of y, one of z";
  EXPECT_EQ(add_uncertain_pairs(1, groups, gaps, kept, 2, 1), kept) << "what was chosen stays";
  EXPECT_EQ(add_uncertain_pairs(1, groups, gaps, {}, 3, 2), (Pairs{{1, {0, 2}}, {0, {0, 1}}}));
}

TEST(PairChoice, SpreadsABudgetOverGroupsAndFavoursNone) {
  std::vector<GroupSize> groups;
  std::vector<std::vector<ResponsePair>> pairs;
  for (int g = 0; g < 10; ++g) {
    groups.push_back({"g" + std::to_string(g), 2 + g % 3});
    pairs.push_back(draw_pairs(4, groups.back(), 100));
  }
  std::vector<int> in_short_round(10);
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const std::vector<ChosenPair> chosen = spread_budget(seed, groups, pairs, 13);
    ASSERT_EQ(chosen.size(), 13U);
    std::vector<std::size_t> times(10);
    for (const ChosenPair& c : chosen) {
      ASSERT_EQ(c.pair, pairs[c.group][times[c.group]]) << "each group's pairs are kept in their order";
      ++times[c.group];
    }
    for (std::size_t g = 0; g < 10; ++g) {
      ASSERT_GE(times[g], 1U);
      ASSERT_LE(times[g], 2U);
      in_short_round[g] += times[g] == 2;
    }
  }
  for (std::size_t g = 0; g < 10; ++g) {  // 3 places in the second round for the 6 groups that have a second pair
    EXPECT_NEAR(in_short_round[g], pairs[g].size() > 1 ? 1000 : 0, 5 * std::sqrt(2000 * 0.25)) << g;
  }
}

TEST(PairChoice, TakesAllPairsIfTheBudgetIsLargeEnough) {
  const std::vector<GroupSize> groups = {{"a", 4}, {"b", 2}, {"c", 0}};
  const std::vector<std::vector<ResponsePair>> pairs = {all_pairs(4), all_pairs(2), {}};
  std::vector<ChosenPair> chosen = spread_budget(1, groups, pairs, 1000);
  EXPECT_EQ(chosen.size(), 7U);
  EXPECT_EQ(std::set<ChosenPair>(chosen.begin(), chosen.end()).size(), 7U);
  EXPECT_EQ(spread_budget(1, groups, pairs, 1000), chosen);
}

TEST(PairChoice, AddingGroupsDoesNotChangeWhatEarlierGroupsDraw) {
  std::vector<GroupSize> groups = {{"a", 6}, {"b", 6}};
  const auto draw = [&] {
    std::vector<std::vector<ResponsePair>> drawn;
    for (const GroupSize& group : groups) drawn.push_back(draw_pairs(8, group, 4));
    return drawn;
  };
  const auto before = draw();
  groups.insert(groups.begin(), {"new", 6});
  const auto after = draw();
  EXPECT_EQ(std::vector(after.begin() + 1, after.end()), before);
}

}  // namespace
}  // namespace dmoerm::label
