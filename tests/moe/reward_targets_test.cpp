#include "moe/reward_targets.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace dmoerm::moe {
namespace {

const double kNan = std::nan("");

at::Tensor rows(const std::vector<double>& values, std::int64_t columns) {
  return at::tensor(at::ArrayRef<double>(values), at::kDouble).view({-1, columns});
}

TEST(RewardTargets, AreTheSoftmaxOfAPromptsRewardsAndTheMeansOfItsCategory) {
  // The mean of category 0 is (1, 2, 0.5), so the smoothed rewards of its first prompt are (1, 2, 0.35).
  const at::Tensor ratings_NC = rows({1, 2, 0, 1, 2, 1, 5, 5, 6, kNan, kNan, kNan}, 3);
  const std::vector<std::int32_t> labels = {0, 0, 1, 0};
  const at::Tensor means_CC = category_means(ratings_NC, labels);
  EXPECT_TRUE(at::allclose(means_CC[0], at::tensor({1.0, 2.0, 0.5}, at::kDouble)));
  const at::Tensor targets_NC = reward_targets(ratings_NC, labels, means_CC, 0.3, 1.0);
  EXPECT_TRUE(at::allclose(targets_NC[0], at::tensor({0.23583084, 0.64105467, 0.12311449}, at::kDouble), 0, 1e-8));
  EXPECT_TRUE(at::allclose(targets_NC[3], at::softmax(means_CC[0], 0))) << "nobody rated it";
  EXPECT_TRUE(at::allclose(targets_NC.sum(1), at::ones({4}, at::kDouble)));
  EXPECT_TRUE(at::allclose(reward_targets(ratings_NC + 7, labels, means_CC + 7, 0.3, 1.0), targets_NC))
      << "only differences count";
  EXPECT_TRUE(at::allclose(reward_targets(ratings_NC, labels, means_CC, 1.0, 0.5)[1],
                           at::softmax(at::tensor({2.0, 4.0, 2.0}, at::kDouble), 0)))
      << "its own rewards alone, over a temperature";
}

TEST(RewardTargets, AreTheOwnCategoryWhereNoPromptOfItIsRated) {
  const at::Tensor ratings_NC = rows({1, 2, kNan, kNan}, 2);
  const std::vector<std::int32_t> labels = {0, 1};
  const at::Tensor targets_NC = reward_targets(ratings_NC, labels, category_means(ratings_NC, labels), 0.3, 1.0);
  EXPECT_TRUE(targets_NC[1].equal(at::tensor({0.0, 1.0}, at::kDouble)));
}

}  // namespace
}  // namespace dmoerm::moe
