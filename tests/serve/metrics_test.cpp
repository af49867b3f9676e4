// Figures of a server: how far scores and routes have moved, and that another bundle resets them.
#include "serve/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>

#include "support/bundle.h"

namespace dmoerm::serve {
namespace {

class MetricsOfOneBundle : public testing::Test {
 protected:
  /// Counts texts with one score. @param category  "" = the single model scored
  void count(const Scorer& scorer, const std::string& category, double reward, int texts = 1) {
    moe::GroupScore group;
    group.category = category;
    for (int i = 0; i < texts; ++i) group.responses.push_back({.reward = reward});
    const moe::GroupScore* const groups[] = {&group};
    metrics_.scored(scorer, groups);
  }
  /// The value of a line; NaN if it is absent.
  double value(const std::string& line) {
    const std::string text = metrics_.text({}), start = "\n" + line + " ";
    const std::size_t at = text.find(start);
    return at == std::string::npos ? std::nan("") : std::stod(text.substr(at + start.size()));
  }
  bool has(const std::string& line) { return !std::isnan(value(line)); }

  Metrics metrics_;
  std::shared_ptr<const moe::Bundle> bundle_ = test::earlier_bundle();
  const Scorer first_ = {"m", "one", 1, &bundle_->model}, second_ = {"m", "two", 2, &bundle_->model};
  const std::string chat_ = "{model=\"m\",scored_by=\"chat\"}", single_ = "{model=\"m\",scored_by=\"single\"}";
};

TEST(Totals, TellMistakesOfClientsFromFailures) {
  Totals totals;
  for (const int status : {200, 400, 404, 424, 429, 499, 500, 503}) totals.add("/classify", status);
  EXPECT_EQ(totals.requests, 8);
  EXPECT_EQ(totals.mistaken, 2);
  EXPECT_EQ(totals.failed, 3);  // 424 is TEI's word for a backend that failed
}

TEST(Totals, CountNoFailureWhereAProbeIsToldToWait) {
  RequestCounts counts;
  for (const char* endpoint : {"/ready", "/v2/health/ready", "/v2/models/{model}/ready", "/classify"})
    counts.add(endpoint, 503, 0);
  counts.add("/ready", 500, 0);
  EXPECT_EQ(counts.totals().answered, 3);
  EXPECT_EQ(counts.totals().failed, 2);
}

TEST_F(MetricsOfOneBundle, DriftIsCountedInDeviationsFromTraining) {
  const moe::ScoreStats& trained = bundle_->model.stats("chat");
  count(first_, "chat", trained.mean + 3 * trained.std, 5);
  EXPECT_NEAR(value("dmoerm_score_drift" + chat_), 3, 1e-4);
  EXPECT_EQ(value("dmoerm_scores_total" + chat_), 5);
  EXPECT_NEAR(value("dmoerm_score_recent_std" + chat_), 0, 1e-4);
}

TEST_F(MetricsOfOneBundle, AnotherBundleBeginsAnew) {
  count(first_, "chat", 100, 50);
  count(first_, "", 100, 50);
  EXPECT_NEAR(value("dmoerm_fallback_recent_share{model=\"m\"}"), 0.5, 1e-9);
  count(second_, "chat", 1);
  EXPECT_EQ(value("dmoerm_score_recent_mean" + chat_), 1);
  EXPECT_EQ(value("dmoerm_scores_total" + chat_), 51);
  EXPECT_FALSE(has("dmoerm_score_drift" + single_));  // nothing is known of it yet
  EXPECT_EQ(value("dmoerm_fallback_recent_share{model=\"m\"}"), 0);
  count(first_, "chat", 100);  // of a request that began before
  EXPECT_EQ(value("dmoerm_score_recent_mean" + chat_), 1);
}

TEST_F(MetricsOfOneBundle, TheSameBundleReadAgainGoesOn) {
  count(first_, "chat", 1);
  count({"m", "one", 2, &bundle_->model}, "chat", 3);
  EXPECT_EQ(value("dmoerm_score_recent_mean" + chat_), 2);
  count(first_, "chat", 5);  // of a request that began before
  EXPECT_EQ(value("dmoerm_scores_total" + chat_), 3);
}

TEST_F(MetricsOfOneBundle, CategoriesThatANewBundleLacksAreForgotten) {
  count(first_, "chat", 1);
  count({"other", "one", 1, &bundle_->model}, "chat", 1);
  ASSERT_TRUE(has("dmoerm_scores_total" + chat_));
  ASSERT_TRUE(has("dmoerm_routes_total{model=\"m\",category=\"chat\"}"));
  moe::Model without_categories;
  metrics_.scored({"m", "two", 2, &without_categories}, {});
  EXPECT_FALSE(has("dmoerm_scores_total" + chat_));
  EXPECT_FALSE(has("dmoerm_routes_total{model=\"m\",category=\"chat\"}"));
  EXPECT_TRUE(has("dmoerm_scores_total{model=\"other\",scored_by=\"chat\"}"));
}

TEST_F(MetricsOfOneBundle, TheRecentShareOfTheSingleModelFollowsAJump) {
  for (int i = 0; i < 20; ++i) count(first_, "chat", 0, 1000);
  count(first_, "", 0, 3000);
  EXPECT_LT(value("dmoerm_fallback_share{model=\"m\"}"), 0.15);
  EXPECT_GT(value("dmoerm_fallback_recent_share{model=\"m\"}"), 0.9);
}

}  // namespace
}  // namespace dmoerm::serve
