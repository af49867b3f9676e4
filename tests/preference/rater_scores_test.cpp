#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "preference/formats_of_groups.h"
#include "preference/group_reader.h"
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

TEST(RaterScores, OfEqualResponsesAreTheMeansOfEachRater) {
  const std::vector<std::vector<double>> scores = {{1, kMissing}, {5}, {2, 4, 6}, {}};
  EXPECT_EQ(merge_rater_scores(scores, {}).size(), 4U) << "none are equal";
  const auto merged = merge_rater_scores(scores, {0, 1, 0, 1});
  EXPECT_EQ(merged, (std::vector<std::vector<double>>{{1.5, 4, 6}, {5}}));
  EXPECT_TRUE(std::isnan(merge_rater_scores({{kMissing}, {kMissing}}, {0, 0}).at(0).at(0)));
}

TEST(RaterScores, OfRowsWithoutRatersAreNone) {
  for (const char* row : {R"({"responses": [{"text": "a"}, {"text": "b"}]})", R"({"chosen": "a", "rejected": "b"})",
                          R"({"responses": ["a", "b"]})", "[1]"})
    EXPECT_TRUE(rater_scores(json::parse(row)).empty()) << row;
}

TEST(RaterScores, AreCountedByLabelInAGroup) {
  const Group group = parse_native(json::parse(R"({"prompt": "p", "responses": [
      {"text": "a", "overall_raters": [1, null, 3], "scores_raters": {"polite": [2, 4], "calm": null}},
      {"text": "b", "overall_raters": [], "scores_raters": {"calm": [null]}}]})"));
  EXPECT_EQ(group.responses.at(0).raters, (std::map<std::string, std::int64_t>{{"overall", 2}, {"polite", 2}}));
  EXPECT_TRUE(group.responses.at(1).raters.empty()) << "nobody gave a score";
}

TEST(RaterScores, OfAnotherTypeAreRefused) {
  for (const char* row : {R"({"responses": [{"overall_raters": 3}]})", R"({"responses": [{"overall_raters": ["good"]}]})",
                          R"({"responses": [{"scores_raters": [1, 2]}]})", R"({"responses": [{"scores_raters": {"calm": 1}}]})"})
    EXPECT_NE(test::message_of<RowError>([&] { (void)rater_scores(json::parse(row)); }).find("expected"), std::string::npos)
        << row;
}

/// A row of two responses that say this beside their texts.
Group read_row(const std::string& first, const std::string& second, const std::string& more = "") {
  return parse_native(json::parse(R"({"prompt": "p", "responses": [{"text": "a", "overall": 2, )" + first +
                                  R"(}, {"text": "b", "overall": 1, )" + second + "}]" + more + "}"));
}

TEST(RaterScores, OfAnotherTypeMakeABadLine) {
  for (const char* raters : {R"("x")", R"({"p": 3})", R"({"p": ["3", "4"]})", R"({"p": [1e300]})", "[1, 2]"}) {
    for (const bool in_first : {true, false}) {
      const std::string wrong = std::string("\"scores_raters\": ") + raters, none = R"("scores_raters": null)";
      const std::string said =
          test::message_of<RowError>([&] { (void)read_row(in_first ? wrong : none, in_first ? none : wrong); });
      EXPECT_NE(said.find("\"scores_raters"), std::string::npos) << raters << ": " << said;
    }
  }
  EXPECT_NE(test::message_of<RowError>([] {
              (void)read_row(R"("scores_raters": {"p": 3})", R"("id": 1)");
            }).find("\"scores_raters.p\": expected a list of numbers, found 3"),
            std::string::npos);
}

TEST(RaterScores, MayDifferInNumber) {  // as in data whose responses were given to different people
  EXPECT_NO_THROW((void)read_row(R"("overall_raters": [1, 2])", R"("overall_raters": [1])"));
  EXPECT_NO_THROW((void)read_row(R"("scores_raters": {"p": [1, 2, 3]})", R"("scores_raters": {"p": [1], "q": [1, 2]})"));
}

TEST(RaterScores, OfAPointWithoutScoresAreMarked) {
  EXPECT_TRUE(read_row(R"("scores_raters": {"zz": [3, 4]})", R"("scores": {"p": 1})").raters_alone);
  EXPECT_FALSE(read_row(R"("scores_raters": {"p": [3, 4]})", R"("scores": {"p": 1})").raters_alone);
  EXPECT_FALSE(read_row(R"("overall_raters": [3, 4], "scores_raters": {"zz": [null]})", R"("scores": {"p": 1})").raters_alone);
  EXPECT_FALSE(read_row(R"("scores_raters": {"zz": [3, 4]})", R"("scores": {"p": 1})",
                        R"(, "verdicts": [{"point": "zz", "a": 0, "b": 1, "first_order": "first", "second_order": "second"}])")
                   .raters_alone);
}

}  // namespace
}  // namespace dmoerm::preference
