#include "label/budget.h"

#include <gtest/gtest.h>

namespace dmoerm::label {
namespace {

constexpr judge::Usage kMost{1, 100, 10, 50};

TEST(Budget, CountsRequestsInFlightAtTheirMaximumCost) {
  Budget budget({});
  budget.limit_run({.cost_micros = 120, .source = "test"});
  EXPECT_TRUE(budget.reserve(kMost));
  EXPECT_TRUE(budget.reserve(kMost));
  EXPECT_FALSE(budget.reserve(kMost)) << "150 of 120";
  EXPECT_TRUE(budget.affordable(kMost)) << "once the others have cost less";
  budget.settle(kMost, {1, 20, 2, 10});
  EXPECT_TRUE(budget.reserve(kMost)) << "10 + 50 + 50 of 120";
  EXPECT_FALSE(budget.reserve(kMost));
}

TEST(Budget, WhatCostsNothingMayBeSentBeyondALimitOnCosts) {
  Budget budget({});
  budget.limit_run({.cost_micros = 100, .requests = 3, .source = "test"});
  budget.reserve_paid({1, 100, 10, 150});  // dearer than was thought
  EXPECT_FALSE(budget.reserve(kMost));
  EXPECT_TRUE(budget.reserve({1, 0, 0, 0})) << "a try after one that failed at the server";
  EXPECT_TRUE(budget.reserve({1, 0, 0, 0}));
  EXPECT_FALSE(budget.reserve({1, 0, 0, 0})) << "the limit on requests holds";
}

TEST(Budget, NeverExceedsALimitWhateverTheOrderOfReplies) {
  for (const SpendLimits& limits : {SpendLimits{.cost_micros = 333}, SpendLimits{.requests = 7}, SpendLimits{.tokens = 777}}) {
    Budget budget({});
    budget.limit_run(limits);
    int in_flight = 0;
    for (int i = 0; i < 1000; ++i) {
      if (i % 3 != 2 && budget.reserve(kMost)) ++in_flight;
      if (i % 5 == 4 && in_flight > 0) budget.settle(kMost, kMost), --in_flight;
    }
    const judge::Usage& run = budget.run();
    EXPECT_TRUE(limits.cost_micros == 0 || run.cost_micros <= limits.cost_micros);
    EXPECT_TRUE(limits.requests == 0 || run.requests <= limits.requests);
    EXPECT_TRUE(limits.tokens == 0 || run.prompt_tokens + run.completion_tokens <= limits.tokens);
    EXPECT_GE(run.requests, 6);
    EXPECT_FALSE(budget.affordable(kMost));
  }
}

TEST(Budget, CountsEarlierRunsInTheStoresLimitOnly) {
  const judge::Usage before{1000, 0, 0, 1000};
  Budget by_run(before), by_store(before);
  by_run.limit_run({.requests = 2, .source = "--requests-max"});
  by_store.limit_store({.requests = 1001, .source = "labels.budget"});
  EXPECT_TRUE(by_run.reserve(kMost));
  EXPECT_TRUE(by_run.reserve(kMost));
  EXPECT_FALSE(by_run.reserve(kMost));
  EXPECT_TRUE(by_store.reserve(kMost));
  EXPECT_FALSE(by_store.reserve(kMost));
}

TEST(Budget, NamesTheLimitAndBothValues) {
  Budget budget({999, 0, 0, 0});
  budget.limit_store({.requests = 999, .source = "labels.budget"});
  EXPECT_EQ(budget.shortage(kMost), "requests: 999 sent, labels.budget allows 999");
}

}  // namespace
}  // namespace dmoerm::label
