#include "label/run_limits.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "support/scratch.h"

namespace dmoerm::label {
namespace {

config::LabelsConfig judges(const std::vector<std::pair<std::string, double>>& prices) {
  config::LabelsConfig labels;
  for (const auto& [model, price] : prices) {
    labels.judges.emplace_back();
    labels.judges.back().model = model, labels.judges.back().price_completion = price;
  }
  return labels;
}

std::string refusal(const RunLimits& limits, const config::LabelsConfig& labels = judges({{"paid", 1}})) {
  return test::message_of<ConfigError>([&] { static_cast<void>(spend_limits(limits, labels)); });
}

TEST(SpendLimits, NameTheGivenOption) {
  EXPECT_EQ(spend_limits({.requests_max = 200}, judges({{"free", 0}})).source, "--requests-max");
  EXPECT_EQ(spend_limits({.requests_max = 200}, judges({{"free", 0}})).requests, 200);
  EXPECT_EQ(spend_limits({.tokens_max = 7}, judges({{"free", 0}})).source, "--tokens-max");
  const SpendLimits both = spend_limits({.cost_max = 0.25, .tokens_max = 9}, judges({{"paid", 1}}));
  EXPECT_EQ(both.source, "--cost-max, --tokens-max");
  EXPECT_EQ(both.cost_micros, 250'000);
  EXPECT_EQ(both.tokens, 9);
  EXPECT_EQ(both.requests, 0);
  Budget budget(judge::Usage{});
  budget.limit_run(spend_limits({.requests_max = 1}, {}));
  EXPECT_EQ(budget.shortage({.requests = 2}), "requests: 0 sent, --requests-max allows 1");
}

TEST(SpendLimits, RefuseValuesOutOfRange) {
  EXPECT_EQ(refusal({.requests_max = 0}), "--requests-max: 0 is out of range: expected 1 or more");
  EXPECT_EQ(refusal({.tokens_max = -5}), "--tokens-max: -5 is out of range: expected 1 or more");
  for (const double bad : {0.0, -1.0, 1e300, 1e-9, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    const std::string said = refusal({.cost_max = bad});
    EXPECT_TRUE(said.starts_with("--cost-max: ")) << bad << ": " << said;
    EXPECT_LT(said.size(), 80U) << said;
  }
}

TEST(SpendLimits, RequireAPriceOfEachJudgeForACost) {
  EXPECT_EQ(refusal({.cost_max = 1}), "");
  const std::string said = refusal({.cost_max = 1}, judges({{"free", 0}, {"paid", 1}, {"gratis", 0}}));
  EXPECT_TRUE(said.starts_with("--cost-max: these judges have no price: free, gratis; ")) << said;
}

}  // namespace
}  // namespace dmoerm::label
