#include <gtest/gtest.h>

#include <set>

#include "train/micro_batch_pass.h"

namespace dmoerm::train {
namespace {

TEST(DropoutDraw, EveryMicroBatchOfATrainingHasItsOwn) {
  std::set<std::uint64_t> draws;
  for (const std::int64_t step : {0, 1, 2, 3, 100'000}) {
    for (const std::int64_t number : {0, 1, 4095, 4096, 4097, 8192, 12'288, 1'000'000})
      EXPECT_TRUE(draws.insert(dropout_draw(step, number)).second) << "step " << step << ", micro batch " << number;
  }
}

TEST(DropoutDraw, StepsOfUsualSizeKeepTheirMasks) {
  EXPECT_EQ(dropout_draw(0, 0), 0U);
  EXPECT_EQ(dropout_draw(7, 4095), 7U * 4096U + 4095U);
}

}  // namespace
}  // namespace dmoerm::train
