#include "preference/swap_check.h"

#include <gtest/gtest.h>

namespace dmoerm::preference {
namespace {

constexpr Verdict kVerdicts[] = {Verdict::first,      Verdict::second,  Verdict::tie,
                                 Verdict::unparsable, Verdict::refused, Verdict::error};

TEST(CheckSwap, KeepsAPairOnlyWhenBothOrdersMeanTheSameResponse) {
  using enum SwapOutcome;
  const Verdict words[3] = {Verdict::first, Verdict::second, Verdict::unparsable};
  const SwapOutcome expected[3][3] = {
      {inconsistent, first, unparsable}, {second, inconsistent, unparsable}, {unparsable, unparsable, unparsable}};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j)
      EXPECT_EQ(check_swap(words[i], words[j]), expected[i][j]) << to_string(words[i]) << " " << to_string(words[j]);
  }
}

TEST(CheckSwap, TellsFailuresFromTies) {
  EXPECT_EQ(check_swap(Verdict::tie, Verdict::tie), SwapOutcome::tie);
  EXPECT_EQ(check_swap(Verdict::tie, Verdict::first), SwapOutcome::inconsistent);
  EXPECT_EQ(check_swap(Verdict::error, Verdict::first), SwapOutcome::error);
  EXPECT_EQ(check_swap(Verdict::refused, Verdict::error), SwapOutcome::error);
  EXPECT_EQ(check_swap(Verdict::second, Verdict::refused), SwapOutcome::refused);
  EXPECT_EQ(check_swap(Verdict::unparsable, Verdict::first), SwapOutcome::unparsable);
}

TEST(CheckSwap, ExchangesTheOutcomeWithTheResponses) {
  for (const Verdict x : kVerdicts) {
    for (const Verdict y : kVerdicts) {
      const SwapOutcome given = check_swap(x, y), exchanged = check_swap(y, x);
      if (given == SwapOutcome::first) {
        EXPECT_EQ(exchanged, SwapOutcome::second);
      } else if (given != SwapOutcome::second) {
        EXPECT_EQ(exchanged, given) << to_string(x) << " " << to_string(y);
      }
    }
  }
}

}  // namespace
}  // namespace dmoerm::preference
