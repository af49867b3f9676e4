// Tests how an audit's counts are shown, and what it says about costs.
#include "run/label_audit.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dmoerm::run {
namespace {

using preference::SwapOutcome;

/// `pairs` pairs of different prompts (or twice as many of each prompt twice), of which every fifth is judged wrongly.
label::AuditCounts counts(const std::string& judge, std::int64_t pairs, int copies = 1) {
  label::AuditCounts counts;
  counts.verdicts.judge = judge;
  for (std::int64_t p = 0; p < pairs; ++p) {
    for (int copy = 0; copy < copies; ++copy) {
      ++counts.verdicts.outcomes[static_cast<std::size_t>(SwapOutcome::first)];
      counts.prompts.push_back({static_cast<std::uint64_t>(p), {p % 5 != 0 ? 1 : 0, 1}});
    }
  }
  return counts;
}

Audit audit(const label::AuditCounts& judge) {
  Audit audit;
  label::AuditResult point;
  point.about.target = {"summarization", "coherence"};
  point.about.pairs = {{0, {{0, 1}}}};
  point.judges = {judge};
  point.vote = judge;
  point.vote.verdicts.judge.clear();
  audit.points = {point};
  audit.currency = "USD";
  return audit;
}

nlohmann::json judge_of(const Audit& audit) { return audit_json(audit)["points"][0]["judges"][0]; }

TEST(LabelAudit, TheIntervalIsOverPromptsNotPairs) {
  const auto once = judge_of(audit(counts("j", 40))), twice = judge_of(audit(counts("j", 40, 2)));
  EXPECT_DOUBLE_EQ(once["agreement"], 0.8);
  EXPECT_DOUBLE_EQ(twice["agreement"], 0.8);
  EXPECT_EQ(once["believed"], 40);
  EXPECT_EQ(twice["believed"], 80);
  EXPECT_EQ(once["interval"], twice["interval"]) << "a second pair of the same prompt says nothing new here";
  // 40 independent prompts: 0.8 +- 1.96 * sqrt(0.8 * 0.2 / 40) = 0.676 ... 0.924
  EXPECT_NEAR(once["interval"][0], 0.676, 0.03);
  EXPECT_NEAR(once["interval"][1], 0.924, 0.03);
}

TEST(LabelAudit, AJudgeWithoutBelievedVerdictsHasNoAgreement) {
  label::AuditCounts biased;
  biased.verdicts.judge = "first";
  biased.verdicts.outcomes[static_cast<std::size_t>(SwapOutcome::inconsistent)] = 10;
  biased.verdicts.first_both = 10;
  EXPECT_TRUE(judge_of(audit(biased))["agreement"].is_null());
  EXPECT_EQ(judge_of(audit(biased))["first_shown_both"], 10);
  const std::string page = audit_page(audit(biased));
  EXPECT_NE(page.find("| overall preference "), std::string::npos) << page;
  EXPECT_NE(page.find("100.0 %"), std::string::npos) << page;
}

TEST(LabelAudit, NamesPointsWithoutAPair) {
  Audit found = audit(counts("j", 10));
  found.points.push_back(found.points[0]);
  found.points[1].about.target.point = "relevance";
  found.points[1].about.pairs.clear();
  EXPECT_NE(audit_page(found).find("too few: summarization/relevance."), std::string::npos) << audit_page(found);
}

TEST(LabelAudit, ProjectsWhatTheRestCostsFromWhatWasPaid) {
  const judge::Usage rest{1000, 500'000, 64'000, 900'000};
  // 20 questions that could have cost 12,000 cost 3,000: a quarter. Their answers had 100 of 1,280 tokens.
  const auto likely = likely_cost(rest, {20, 10'000, 100, 3'000}, {20, 10'000, 1'280, 12'000}, 20);
  ASSERT_TRUE(likely);
  EXPECT_EQ(*likely, (judge::Usage{1000, 500'000, 5'000, 225'000}));
  // A limit ended it after 10 of the 20.
  EXPECT_EQ(likely_cost(rest, {10, 5'000, 50, 1'500}, {20, 10'000, 1'280, 12'000}, 10), likely);
  EXPECT_EQ(likely_cost(rest, {20, 5'000, 50, 1'500}, {20, 10'000, 1'280, 12'000}, 10), likely) << "each was asked twice";
  EXPECT_FALSE(likely_cost(rest, {}, {20, 10'000, 1'280, 12'000}, 0)) << "nothing was paid: nothing is known";
}

TEST(LabelAudit, SaysThatTheBudgetIsTooSmall) {
  Audit found = audit(counts("j", 10));
  found.cost.store.cost_micros = 3'000'000;
  found.cost.rest_most = {100, 1, 1, 40'000'000};
  found.cost.rest_likely = judge::Usage{100, 1, 1, 6'000'000};
  found.cost_max = 10;
  EXPECT_EQ(audit_page(found).find("will end the labelling"), std::string::npos) << "9 of 10 USD";
  found.cost_max = 8;
  EXPECT_NE(audit_page(found).find("labels.budget.cost_max (8.00 USD) will end the labelling"), std::string::npos);
}

TEST(LabelAudit, NothingPaidAtAPriceIsNoMissingPrice) {
  Audit found = audit(counts("j", 10));
  found.cost.audit = found.cost.store = {3, 0, 0, 0};  // such as requests that failed
  found.cost.rest_most = {100, 1, 1, 40'000'000};
  found.cost.rest_likely = judge::Usage{100, 1, 1, 0};
  EXPECT_NE(audit_page(found).find("| no price set"), std::string::npos) << audit_page(found);
  EXPECT_NE(audit_page(found).find("The cost is known once price_prompt"), std::string::npos) << audit_page(found);
  found.priced = true;
  EXPECT_EQ(audit_page(found).find("no price set"), std::string::npos) << audit_page(found);
  EXPECT_EQ(audit_page(found).find("The cost is known once"), std::string::npos) << audit_page(found);
  EXPECT_NE(audit_page(found).find("| 0.000000 USD"), std::string::npos) << audit_page(found);
}

}  // namespace
}  // namespace dmoerm::run
