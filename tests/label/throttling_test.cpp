#include "label/throttling.h"

#include <gtest/gtest.h>

namespace dmoerm::label {
namespace {

using std::chrono::seconds;

TEST(Throttling, IsSaidOnceUntilAnAnswerComesAndEndsTheRunLater) {
  const Throttling::TimePoint start{};
  Throttling throttling(start);
  EXPECT_EQ(throttling.check(0, start + seconds(700)), "") << "a slow server throttles nothing";
  EXPECT_FALSE(throttling.too_long());
  EXPECT_EQ(throttling.check(3, start + seconds(14)), "");
  EXPECT_EQ(throttling.check(4, start + seconds(16)), "all replies for 16 s are \"too many requests\"");
  EXPECT_EQ(throttling.check(5, start + seconds(17)), "");
  throttling.answered(5, start + seconds(20));
  EXPECT_EQ(throttling.check(5, start + seconds(50)), "");
  EXPECT_NE(throttling.check(6, start + seconds(51)), "");
  EXPECT_FALSE(throttling.too_long());
  EXPECT_EQ(throttling.check(7, start + seconds(620)), "");
  EXPECT_TRUE(throttling.too_long());
  EXPECT_NE(throttling.text().find("600 s"), std::string::npos);
}

}  // namespace
}  // namespace dmoerm::label
