#include "train/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>

namespace dmoerm::train {
namespace {

TEST(LearningRate, FollowsItsScheduleAfterTheWarmUp) {
  config::TrainConfig config;
  config.lr = 1.0;
  config.warmup_steps = 4;
  EXPECT_DOUBLE_EQ(learning_rate(config, 0, 100), 0.25);
  EXPECT_DOUBLE_EQ(learning_rate(config, 3, 100), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 99, 100), 1.0);
  config.schedule = config::Schedule::linear;
  EXPECT_DOUBLE_EQ(learning_rate(config, 52, 100), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 100, 100), 0.0);
  config.schedule = config::Schedule::cosine;
  EXPECT_NEAR(learning_rate(config, 52, 100), 0.5, 1e-12);
  EXPECT_NEAR(learning_rate(config, 28, 100), 0.5 * (1 + std::cos(std::acos(-1.0) / 4)), 1e-12);
}

}  // namespace
}  // namespace dmoerm::train
