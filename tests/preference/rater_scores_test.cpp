#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "preference/formats_of_groups.h"
#include "preference/row_error.h"
#include "support/scratch.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;

TEST(RaterScores, AreThoseOfEachResponseByLabel) {
  const auto labels = rater_scores(json::parse(R"({"responses": [
      {"text": "a", "overall_raters": [1, null, 3], "scores_raters": {"polite": [2, 4], "calm": null}},
      {"text": "b", "overall_raters": null},
      {"text": "c", "overall_raters": [5]}]})"));
  ASSERT_EQ(labels.size(), 2U);
  const auto& overall = labels.at("overall");
  ASSERT_EQ(overall.size(), 3U);
  ASSERT_EQ(overall[0].size(), 3U);
  EXPECT_EQ(overall[0][2], 3);
  EXPECT_TRUE(std::isnan(overall[0][1]));
  EXPECT_TRUE(overall[1].empty());
  EXPECT_EQ(overall[2], std::vector<double>{5});
  EXPECT_EQ(labels.at("polite")[0], (std::vector<double>{2, 4}));
  EXPECT_TRUE(labels.at("polite")[2].empty());
}

TEST(RaterScores, OfRowsWithoutRatersAreNone) {
  for (const char* row : {R"({"responses": [{"text": "a"}, {"text": "b"}]})", R"({"chosen": "a", "rejected": "b"})",
                          R"({"responses": ["a", "b"]})", "[1]"})
    EXPECT_TRUE(rater_scores(json::parse(row)).empty()) << row;
}

TEST(RaterScores, AreCountedByLabelInAGroup) {
  const Group group = parse_native(json::parse(R"({"prompt": "p", "responses": [
      {"text": "a", "overall_raters": [1, null, 3], "scores_raters": {"polite": [2, 4], "calm": null}},
      {"text": "b", "scores_raters": {"calm": 1}}]})"));
  EXPECT_EQ(group.responses.at(0).raters, (std::map<std::string, std::int64_t>{{"overall", 2}, {"polite", 2}}));
  EXPECT_TRUE(group.responses.at(1).raters.empty()) << "what is no list has no raters, and is no bad line";
}

TEST(RaterScores, OfAnotherTypeAreRefused) {
  for (const char* row : {R"({"responses": [{"overall_raters": 3}]})", R"({"responses": [{"overall_raters": ["good"]}]})",
                          R"({"responses": [{"scores_raters": [1, 2]}]})", R"({"responses": [{"scores_raters": {"calm": 1}}]})"})
    EXPECT_NE(test::message_of<RowError>([&] { (void)rater_scores(json::parse(row)); }).find("expected"), std::string::npos)
        << row;
}

}  // namespace
}  // namespace dmoerm::preference
