#include "pair/swap_check.h"

#include <gtest/gtest.h>

namespace dmoerm::pair {
namespace {

TEST(CheckSwap, KeepsAPairOnlyWhenBothOrdersMeanTheSameResponse) {
  using enum SwapOutcome;
  const char* const words[3] = {"first", "second", "nonsense"};
  const SwapOutcome expected[3][3] = {
      {inconsistent, first, unparsable}, {second, inconsistent, unparsable}, {unparsable, unparsable, unparsable}};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) EXPECT_EQ(check_swap(words[i], words[j]), expected[i][j]) << words[i] << " " << words[j];
  }
}

TEST(CheckSwap, AnErrorIsNoTie) {
  EXPECT_EQ(check_swap("tie", "tie"), SwapOutcome::tie);
  EXPECT_EQ(check_swap("tie", "first"), SwapOutcome::inconsistent);
  EXPECT_EQ(check_swap("error", "first"), SwapOutcome::error);
  EXPECT_EQ(check_swap("refused", "error"), SwapOutcome::error);
  EXPECT_EQ(check_swap("second", "refused"), SwapOutcome::refused);
  EXPECT_EQ(check_swap("12", "first"), SwapOutcome::unparsable);
}

TEST(CheckSwap, ExchangingTheResponsesExchangesTheOutcome) {
  const char* const words[] = {"first", "second", "tie", "unparsable", "refused", "error"};
  for (const char* x : words) {
    for (const char* y : words) {
      const SwapOutcome given = check_swap(x, y), exchanged = check_swap(y, x);
      if (given == SwapOutcome::first) {
        EXPECT_EQ(exchanged, SwapOutcome::second);
      } else if (given != SwapOutcome::second) {
        EXPECT_EQ(exchanged, given) << x << " " << y;
      }
    }
  }
}

}  // namespace
}  // namespace dmoerm::pair
