#include "moe/score_drift.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

namespace dmoerm::moe {
namespace {

TEST(ScoreDrift, SaysThatThereWasNothingToCompare) {
  EXPECT_EQ(ScoreDrift().text(), "there are no scores to compare with those of float32");
}

TEST(ScoreDrift, CountsDifferencesPairsInAnotherOrderAndOtherRoutes) {
  ScoreDrift drift;
  // Three pairs, one of which float32 does not order, and one that is level now; then one that is turned.
  drift.add(std::vector<double>{1.0, 2.0, 1.0}, std::vector<double>{1.0, 2.5, 2.5}, 2.0);
  drift.add_route(true);
  drift.add(std::vector<double>{0.0, 1.0}, std::vector<double>{0.5, 0.25}, 0.5);
  drift.add_route(false);
  const nlohmann::json found = drift.to_json();
  EXPECT_EQ(found["scores"], 5);
  EXPECT_DOUBLE_EQ(found["mean"], (0.5 + 1.5 + 0.5 + 0.75) / 5);
  EXPECT_DOUBLE_EQ(found["largest"], 1.5);
  EXPECT_DOUBLE_EQ(found["mean_of_deviation"], (0.25 + 0.75 + 1.0 + 1.5) / 5);
  EXPECT_DOUBLE_EQ(found["largest_of_deviation"], 1.5);
  EXPECT_EQ(found["pairs"], 3);
  EXPECT_EQ(found["pairs_turned"], 2);
  EXPECT_EQ(found["prompts"], 2);
  EXPECT_EQ(found["prompts_rerouted"], 1);
  EXPECT_EQ(
      drift.text(),
      "scores differ from float32 by 0.65 on average, at most 1.5 (0.7 and 1.5 of the deviation within a prompt); 2 of 3 pairs "
      "of responses ordered otherwise; 1 of 2 prompts routed otherwise");
}

}  // namespace
}  // namespace dmoerm::moe
