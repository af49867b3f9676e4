#include "base/progress.h"

#include <gtest/gtest.h>

namespace dmoerm {
namespace {

TEST(ProgressText, HasRateAndTimeLeftOnceTheyAreKnown) {
  EXPECT_EQ(progress_text({"length", "groups", 1, 100, 0}, 0), "length: 1 of 100 groups");
  EXPECT_EQ(progress_text({"length", "groups", 40, 100, 12}, 0), "length: 40 of 100 groups, 12 groups/s, 0:00:05 left");
  EXPECT_EQ(progress_text({"", "lines", 40, 0, 1234.5}, 0), "40 lines, 1234 lines/s");
}

TEST(ProgressText, HasABarOnATerminalIfTheEndIsKnown) {
  EXPECT_EQ(progress_text({"", "groups", 50, 100, 0}, 80), "[##########..........] 50 of 100 groups");
  EXPECT_EQ(progress_text({"", "lines", 50, 0, 0}, 80), "50 lines");
  EXPECT_EQ(progress_bar(7, 5, 4), "[####]");
  EXPECT_EQ(progress_bar(0, 5, 4), "[....]");
}

TEST(ProgressText, FitsTheTerminalAndKeepsCharactersWhole) {
  const std::string text = progress_text({std::string(30, 'x') + "äöü", "groups", 1, 2, 0}, 56);
  EXPECT_EQ(text, "[##########..........] " + std::string(30, 'x') + "ä");
}

}  // namespace
}  // namespace dmoerm
