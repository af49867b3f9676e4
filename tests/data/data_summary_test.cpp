#include "data/data_summary.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "config/reader.h"
#include "data/derived_config.h"
#include "data/ingest_inputs.h"
#include "data/score_gap_rule.h"
#include "data/text_notes.h"
#include "support/scratch.h"

namespace dmoerm::data {
namespace {

using nlohmann::json;

/// A row of the native format. @param scores  {point: [score of each response]}, null for none
std::string rated_row(int number, const json& scores, const json& more = json::object()) {
  json row{{"prompt", "question " + std::to_string(number)}, {"responses", json::array()}};
  row.update(more);
  for (const auto& [label, values] : scores.items()) {
    for (std::size_t r = 0; r < values.size(); ++r) {
      json& response = row["responses"][r];
      response["text"] = "answer " + std::to_string(r);
      if (values[r].is_null()) continue;
      if (label == "overall" || label == "overall_raters")
        response[label] = values[r];
      else
        response["scores"][label] = values[r];
    }
  }
  return row.dump() + "\n";
}

class SummarisedFolder : public test::Scratch {
 protected:
  [[nodiscard]] static DataSummary summary_of(const std::vector<std::string>& files) {
    IngestRequest request;
    for (const std::string& file : files) request.data.inputs.push_back({file, "auto", "", config::InputSplit::own, 1.0});
    request.threads = 1;
    return summarise(request);
  }
  /// The configuration that is written, as a run reads it.
  [[nodiscard]] config::RunConfig read_back(const std::string& yaml) const {
    return config::parse_run_config(yaml, "derived.yaml", directory_.string(), {"backbone.dir=model"});
  }
  /// Prompts of a support category with two points, several raters and one bad point; and prompts of no category.
  [[nodiscard]] std::vector<std::string> own_files() const {
    std::string rated, plain;
    for (int i = 0; i < 40; ++i) {
      json scores{{"empathy", {3, 2, 1}},
                  {"next_step", {1, 3, 1}},
                  {"same", {2, 2, 2}},
                  {"overall", {2.5, 1.5, 1.0}},
                  {"overall_raters", {{3, 2}, {1, 2}, {1, 1}}}};
      if (i < 5) scores["depth"] = {1, 2, nullptr};
      rated += rated_row(i, scores, {{"category", "support"}, {"split", i < 30 ? "train" : "test"}});
      plain += rated_row(100 + i, {{"calm", {0.1, 0.4}}, {"overall", {4, 9}}}, {{"split", "train"}});
    }
    return {write("rated.jsonl", rated), write("plain.jsonl", plain)};
  }
};

TEST(ScoreGapRule, TakesTheSmallestGapOfAtLeastHalfTheSpread) {
  ScoreGapRule whole, thirds, wide, none;
  for (int i = 0; i < 10; ++i) {
    whole.add({1, 2, 5, preference::kMissing});
    thirds.add({1.0 / 3, 2.0 / 3, 7.0 / 3, 3});
    none.add({4, 4});
  }
  for (int i = 0; i < 2000; ++i) wide.add({i * 0.013, i * 0.013 + 1 + i * 1e-5});
  EXPECT_EQ(whole.gap(), 3) << "the half is 1.04, the gaps are 1, 3 and 4";
  EXPECT_EQ(thirds.gap(), 0.666) << "a third is below the half, 0.64; three digits, and not above two thirds";
  EXPECT_EQ(none.gap(), 0);
  EXPECT_EQ(ScoreGapRule().gap(), 0);
  EXPECT_NEAR(wide.gap(), 0.357, 0.001) << "a continuum: the half itself";
}

TEST(ScoreGapRule, KeepsAllGapsOfRatingsThatSpreadLittle) {
  ScoreGapRule rule, decimal;
  for (int i = 0; i < 10; ++i) rule.add({3, 4, 3, 4}), decimal.add({2.3, 2.0});
  EXPECT_EQ(rule.gap(), 1);
  EXPECT_EQ(decimal.gap(), 0.3) << "2.3 - 2.0 is a little less, but a gap as people write it";
}

TEST_F(SummarisedFolder, CountsWhatCategoriesAndLabelsHold) {
  const DataSummary summary = summary_of(own_files());
  ASSERT_EQ(summary.categories.size(), 2U);
  EXPECT_EQ(summary.inputs.at(0).format, "native");
  const CategorySummary& support = summary.categories.at("support");
  EXPECT_EQ(support.prompts, 40);
  EXPECT_EQ(support.responses, (std::map<std::int64_t, std::int64_t>{{3, 40}}));
  EXPECT_EQ(support.splits.at(preference::Split::train), 30);
  EXPECT_EQ(support.splits.at(preference::Split::test), 10);
  const LabelSummary& overall = support.labels.at("overall");
  EXPECT_EQ(overall.prompts, 40);
  EXPECT_EQ(overall.scores, 120);
  EXPECT_EQ(overall.least, 1);
  EXPECT_EQ(overall.most, 2.5);
  EXPECT_EQ(overall.raters_least, 2);
  EXPECT_EQ(overall.raters_most, 2);
  EXPECT_EQ(overall.learnable, 30) << "test prompts are not learned from";
  EXPECT_EQ(support.labels.at("depth").prompts, 5);
  EXPECT_EQ(support.labels.at("same").prompts, 0);
  EXPECT_EQ(support.labels.at("first_rater").score_gap_min, overall.score_gap_min) << "it stands in for the mean of all";
  EXPECT_EQ(point_names(support), (std::vector<std::string>{"depth", "empathy", "next_step", "same"}));
}

TEST_F(SummarisedFolder, SaysWhatIsOdd) {
  const std::string said = to_text(summary_of(own_files()), 20);
  EXPECT_NE(said.find("odd: support: same: all 120 scores are 2, so they order nothing"), std::string::npos) << said;
  EXPECT_NE(said.find("odd: support: depth: 5 prompts outside the test split have an ordered pair"), std::string::npos) << said;
  EXPECT_NE(said.find("odd: default: one capability point alone, calm"), std::string::npos) << said;
  EXPECT_NE(said.find("odd: default: 40 prompts of rows that name no category (" + (directory_ / "plain.jsonl").string() +
                      " 40); set data.inputs[].category"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("format native, 40 prompts"), std::string::npos) << said;
  EXPECT_EQ(said.find("odd: support: empathy"), std::string::npos) << said;
}

TEST_F(SummarisedFolder, SaysHowManyEqualResponsesAreMerged) {
  std::string rows = rated_row(0, {{"tone", {1, 2}}});
  for (int i = 1; i < 3; ++i) {
    json row = json::parse(rated_row(i, {{"overall", {1, 9, 4}}}));
    row["responses"][1]["text"] = row["responses"][0]["text"];
    rows += row.dump() + "\n";
  }
  const std::string file = write("rows.jsonl", rows), said = to_text(summary_of({file}), 20);
  EXPECT_NE(said.find("noted        2: responses with the text of another one of their prompt, merged into it with the mean of "
                      "their scores, the first at " +
                      file + ":2\n"),
            std::string::npos)
      << said;
}

TEST_F(SummarisedFolder, SaysWhereRatersScoreAPointWithoutScores) {
  json row = json::parse(rated_row(1, {{"tone", {1, 2}}}));
  row["responses"][0]["scores_raters"] = {{"tonne", {1, 1}}};
  const std::string file = write("rows.jsonl", rated_row(0, {{"tone", {1, 2}}}) + row.dump());
  const DataSummary summary = summary_of({file});
  EXPECT_EQ(summary.noted.at(kRatersAloneNote).times, 1);
  EXPECT_NE(to_text(summary, 20).find("correct the name, the first at " + file + ":2\n"), std::string::npos);
}

TEST_F(SummarisedFolder, ListsTheOverallLabelAmongEndlesslyManyOthers) {
  json scores{{"overall", {1, 2}}};
  for (int i = 0; i < 300; ++i) scores["by_" + std::to_string(i)] = {1, 2};
  const CategorySummary category = summary_of({write("rows.jsonl", rated_row(0, scores))}).categories.at(kNoCategory);
  EXPECT_TRUE(category.labels_left_out);
  EXPECT_EQ(category.labels.at("overall").prompts, 1);
}

TEST_F(SummarisedFolder, LetsNoTestPromptDecideAboutGaps) {
  std::string rows;
  for (int i = 0; i < 20; ++i) {
    const bool test = i >= 10;
    rows += rated_row(i, {{"tone", {0, test ? 100 : 1}}}, {{"category", "chat"}, {"split", test ? "test" : "train"}});
  }
  EXPECT_EQ(summary_of({write("rows.jsonl", rows)}).categories.at("chat").labels.at("tone").score_gap_min, 1);
}

TEST_F(SummarisedFolder, CountsStatedPairsWhateverTheGapOfScores) {
  std::string rows;
  for (int i = 0; i < 6; ++i)
    rows += json{{"prompt", "q " + std::to_string(i)}, {"chosen", "good"}, {"rejected", "bad"}, {"split", "train"}}.dump() + "\n";
  const std::string file = write("pairs.jsonl", rows);
  const DataSummary summary = summary_of({file});
  const LabelSummary& overall = summary.categories.at(kNoCategory).labels.at("overall");
  EXPECT_EQ(overall.prompts, 6);
  EXPECT_EQ(overall.learnable, 6);
  EXPECT_EQ(overall.score_gap_min, 0);
  EXPECT_NE(to_text(summary, 20).find("no capability point"), std::string::npos);
  const std::string refused = test::message_of<DataError>([&] { (void)derived_config(summary, {}); });
  EXPECT_NE(refused.find("no category has a capability point"), std::string::npos) << refused;
}

TEST_F(SummarisedFolder, WritesAConfigurationThatARunReads) {
  const std::vector<std::string> files = own_files();
  const DataSummary summary = summary_of(files);
  const std::string yaml = derived_config(summary, {});
  const config::RunConfig config = read_back(yaml);
  ASSERT_EQ(config.data.inputs.size(), 2U);
  EXPECT_EQ(config.data.inputs[0].path, files[0]);
  ASSERT_EQ(config.categories.size(), 2U);
  EXPECT_EQ(config.categories[0].name, kNoCategory);
  EXPECT_EQ(config.categories[1].points, (std::vector<std::string>{"empathy", "next_step"}));
  EXPECT_EQ(config.categories[1].score_gap_min.of("empathy"), 1);
  EXPECT_EQ(config.categories[1].score_gap_min.of("overall"),
            summary.categories.at("support").labels.at("overall").score_gap_min);
  EXPECT_NE(yaml.find("# left out: \"depth\": 5 prompts outside the test split"), std::string::npos) << yaml;
  EXPECT_NE(yaml.find("# first_rater, the overall label of one rater, is no capability point"), std::string::npos) << yaml;
}

TEST_F(SummarisedFolder, NamesTheFirstRaterForTheExperimentAlone) {
  const DataSummary summary = summary_of(own_files());
  const config::RunConfig config = read_back(derived_config(summary, {.labelled_min = 5, .evidence = true}));
  EXPECT_EQ(config.categories[1].points, (std::vector<std::string>{"depth", "empathy", "next_step", "first_rater"}));
  EXPECT_EQ(config.categories[0].points, std::vector<std::string>{"calm"});
  EXPECT_EQ(config.data.max_length, 512);
}

TEST_F(SummarisedFolder, LeavesOutOfTheExperimentWhatItCannotTest) {
  std::string rows, untested;
  for (int i = 0; i < 40; ++i) {
    const json both = {{"tone", {1, 2}}, {"overall", {1, 3}}}, point = {{"tone", {1, 2}}};
    rows += rated_row(i, both, {{"category", "chat"}, {"split", "train"}});
    untested += rated_row(100 + i, i < 4 ? both : point, {{"category", "talk"}, {"split", "train"}});
  }
  const DataSummary summary = summary_of({write("rows.jsonl", rows + untested)});
  EXPECT_EQ(read_back(derived_config(summary, {})).categories.size(), 2U) << "a run needs none";
  const std::string yaml = derived_config(summary, {.evidence = true});
  ASSERT_EQ(read_back(yaml).categories.size(), 1U) << yaml;
  EXPECT_NE(yaml.find("# left out: the category \"talk\": overall, on which all models are tested: 4 prompts outside"),
            std::string::npos)
      << yaml;
  EXPECT_EQ(read_back(derived_config(summary, {.labelled_min = 4, .evidence = true})).categories.size(), 2U);
  const DataSummary none = summary_of({write("untested.jsonl", untested)});
  const std::string refused = test::message_of<DataError>([&] { (void)derived_config(none, {.evidence = true}); });
  EXPECT_NE(refused.find("the overall labels of no category order a pair in 20 prompts"), std::string::npos) << refused;
}

TEST_F(SummarisedFolder, LeavesOutNamesThatNoConfigurationTakes) {
  std::string rows;
  for (int i = 0; i < 40; ++i) {
    rows += rated_row(i, {{"good\ntone", {1, 2}}, {"tone", {1, 2}}}, {{"category", "chat"}});
    rows += rated_row(100 + i, {{"tone", {1, 2}}}, {{"category", "small talk: \"a\""}});
  }
  const std::string yaml = derived_config(summary_of({write("o'dd ${x}.jsonl", rows)}), {});
  const config::RunConfig config = read_back(yaml);
  ASSERT_EQ(config.categories.size(), 1U) << yaml;
  EXPECT_EQ(config.categories[0].points, std::vector<std::string>{"tone"});
  EXPECT_EQ(config.data.inputs[0].path, (directory_ / "o'dd ${x}.jsonl").string());
}

}  // namespace
}  // namespace dmoerm::data
