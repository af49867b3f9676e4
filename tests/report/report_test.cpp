// The report of a run: what it says first, that damage hides only its own section, and that names of a run cannot become markup.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "report/accuracies.h"
#include "report/comparison.h"
#include "report/model_card.h"
#include "report/report_page.h"
#include "report/score_figures.h"
#include "support/scratch.h"

namespace dmoerm::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class ReportTest : public test::Scratch {
 protected:
  void put(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((directory_ / file).parent_path());
    (void)write(file, text);
  }
  /// Results of a category with three pairs in each group. @param single, mixture  pairs that each orders correctly, by group
  void put_results(const std::string& category, const std::vector<int>& single, const std::vector<int>& mixture,
                   const std::string& routed_to = "its own") const {
    json results = {{"category", category}, {"right", {{"single", single}, {"dmoerm", mixture}}}, {"points", json::object()}};
    for (std::size_t i = 0; i < single.size(); ++i) {
      results["pairs"].push_back(3), results["prompts"].push_back(i), results["ids"].push_back("g");
      results["routes"].push_back({{"category", routed_to == "its own" ? category : routed_to},
                                   {"likeliest", category},
                                   {"confidence", 0.9},
                                   {"distance", 0.5}});
    }
    put("eval/" + category + "/results.json", results.dump());
    put("eval/" + category + "/manifest.json", "{}");
    put("config.yaml", "name: test\n");
  }
  [[nodiscard]] report::Run run() const { return read_run(directory_); }
  [[nodiscard]] Headline headline() const { return headline_of(run(), accuracies_of(run())); }
  [[nodiscard]] std::string page() const { return report_page(run(), {}, ""); }
};

TEST_F(ReportTest, SaysBetterOnlyIfTheIntervalExcludesNoDifference) {
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  EXPECT_EQ(headline().verdict, Verdict::better);
  EXPECT_THAT(headline().sentence, HasSubstr("100.0 % of 150 pairs"));
  put_results("chat", std::vector<int>(50, 3), std::vector<int>(50, 1));
  EXPECT_EQ(headline().verdict, Verdict::worse);
  std::vector<int> single(50, 2), mixture(50, 2);
  single[0] = 3, mixture[1] = 3, mixture[2] = 3;
  put_results("chat", single, mixture);
  EXPECT_EQ(headline().verdict, Verdict::open);
  EXPECT_THAT(headline().sentence, HasSubstr("not certain"));
}

TEST_F(ReportTest, SaysThatFewPromptsMeasuredIt) {
  put_results("chat", std::vector<int>(20, 1), std::vector<int>(20, 3));
  EXPECT_THAT(headline().further, testing::Contains(HasSubstr("Only 20 test prompts")));
  put_results("chat", std::vector<int>(100, 1), std::vector<int>(100, 3));
  EXPECT_THAT(headline().further, Not(testing::Contains(HasSubstr("Only"))));
}

TEST_F(ReportTest, SaysThatPromptsWentToTheSingleModel) {
  put_results("chat", std::vector<int>(60, 1), std::vector<int>(60, 1), "");
  put_results("code", std::vector<int>(40, 1), std::vector<int>(40, 3));
  EXPECT_THAT(headline().further, testing::Contains(HasSubstr("60 of 100 test prompts went to the single model")));
  put_results("chat", std::vector<int>(30, 1), std::vector<int>(30, 1), "");
  EXPECT_THAT(headline().further, Not(testing::Contains(HasSubstr("went to the single model"))));
}

TEST_F(ReportTest, SaysWhenAnIntervalHasExactBounds) {
  put_results("chat", std::vector<int>(12, 1), std::vector<int>{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2});
  EXPECT_THAT(headline().sentence, HasSubstr("exact bounds because few prompts tell the two apart"));
  EXPECT_THAT(page(), testing::AllOf(HasSubstr("(bounds)"), HasSubstr("Bounds: resamples say nothing here")));
  std::vector<int> better(50, 3);
  std::fill_n(better.begin(), 20, 2);
  put_results("chat", std::vector<int>(50, 1), better);
  EXPECT_THAT(page(), Not(HasSubstr("(bounds)")));
}

TEST_F(ReportTest, NamesCategoriesInWhichTheSingleModelIsAhead) {
  put_results("chat", std::vector<int>(60, 0), std::vector<int>(60, 3));
  put_results("code", std::vector<int>(20, 3), std::vector<int>(20, 0));
  EXPECT_THAT(headline().further, testing::Contains(HasSubstr("behind the single model: code")));
}

TEST_F(ReportTest, PairsPromptsOfEqualNumbersOnlyWithinACategory) {
  put_results("chat", std::vector<int>(40, 1), std::vector<int>(40, 2));
  put_results("code", std::vector<int>(40, 1), std::vector<int>(40, 2));
  const Accuracies accuracies = accuracies_of(run());
  EXPECT_EQ(accuracies.rows, (std::vector<std::string>{"chat", "code", "all"}));
  EXPECT_EQ(accuracies.prompts("all"), 80U);
  EXPECT_EQ(accuracies.pairs("all"), 240);
}

TEST_F(ReportTest, IsMadeOfARunThatHasOnlyBegun) {
  put("config.yaml", "name: test\n");
  put("status.json", "{}");
  put("timeline.jsonl", R"({"at": 10, "event": "run", "name": "begun", "ranks": [{"rank": 0, "host": "a"}], "tasks": [)"
                        R"({"id": "ingest", "cost": 1, "inputs": [], "done": true}, {"id": "single", "cost": 1, "inputs": []}]})"
                        "\n{\"at\": 11, \"event\": \"start\", \"task\": \"single\", \"ranks\": [0]}\n{\"at\": 12, \"eve");
  EXPECT_EQ(headline().verdict, Verdict::unknown);
  EXPECT_THAT(page(), testing::AllOf(HasSubstr("Nothing can be said yet"), HasSubstr("No training has been evaluated yet"),
                                     HasSubstr("The bundle has not been written yet")));
}

TEST_F(ReportTest, DamageHidesOnlyItsOwnSection) {
  put_results("chat", std::vector<int>(8, 1), std::vector<int>(8, 3));  // few groups, as the page is made many times
  for (const char* damage : {"{", "[]", "{\"points\": 3}", "{\"inputs\": [{}], \"counts\": 7}", "null", "\xff"}) {
    for (const char* file : {"ingest/store.h5.report.json", "label/report.json", "report/report.json", "report/cost.json",
                             "bundle/dmoerm.json", "eval/chat/scores.json", "external.json", "computed_on.json", "status.json",
                             "timeline.jsonl", "base/chat/metrics.jsonl", "base/chat/manifest.json"}) {
      put(file, damage);
      const std::string html = page();
      EXPECT_THAT(html, HasSubstr("The mixture is better")) << file << " " << damage;
      EXPECT_THAT(html, HasSubstr("</html>"));
      EXPECT_THAT(model_card(run(), {}), HasSubstr("The mixture is better")) << file << " " << damage;
      std::filesystem::remove(directory_ / file);
    }
  }
}

TEST_F(ReportTest, CategoryWithDamagedResultsIsNamedAndLeftOut) {
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  put_results("code", std::vector<int>(50, 1), std::vector<int>(50, 3));
  put("eval/code/results.json", "{\"right\": {\"single\": [1]}}");
  EXPECT_EQ(headline().verdict, Verdict::better);
  EXPECT_THAT(headline().further, testing::Contains("The results of code cannot be read and are not part of these figures."));
  EXPECT_THAT(headline().further, Not(testing::Contains(HasSubstr("not evaluated"))));
  EXPECT_THAT(page(), HasSubstr("code: results.json does not have the form"));
}

TEST_F(ReportTest, FiguresOfAllCategoriesSayWhetherSomeAreLeftOut) {
  for (const char* category : {"chat", "code", "maths"}) put_results(category, std::vector<int>(50, 1), std::vector<int>(50, 3));
  EXPECT_THAT(model_card(run(), {}), HasSubstr(": all categories\""));
  put("eval/maths/results.json", "{\"ids\": [");
  EXPECT_THAT(model_card(run(), {}), HasSubstr(": all categories with results\""));
}

TEST_F(ReportTest, ResultsThatCannotBeReadAreNotCalledMissing) {
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  put("eval/chat/results.json", "{\"ids\": [");
  EXPECT_EQ(headline().verdict, Verdict::unknown);
  EXPECT_EQ(headline().sentence, "Nothing can be said: the results of chat cannot be read.");
  EXPECT_THAT(model_card(run(), {}), Not(HasSubstr("has not been evaluated")));
}

TEST_F(ReportTest, NamesOfARunAreNeverMarkup) {
  const std::string hostile = "<script>alert(1)<!script>";
  put_results(hostile, std::vector<int>(50, 1), std::vector<int>(50, 3));
  put("config.yaml", "name: \"</pre><script>x</script>\"\n");
  put("base/" + hostile + "/metrics.jsonl", "{\"step\": 1, \"validation_accuracy\": 0.5}\n");
  const std::string html = report_page(run(), {}, "/* library */");
  EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(html, Not(HasSubstr("<script>x")));
  EXPECT_THAT(html, HasSubstr("/* library */"));
}

TEST_F(ReportTest, PageAsksForNothing) {
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  for (const char* part : {"src=", "href=\"http", "@import", "url("}) EXPECT_THAT(html, Not(HasSubstr(part)));
}

TEST_F(ReportTest, TellsHowManySectionsItHas) {
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  std::vector<std::int64_t> told;
  std::int64_t of = 0;
  (void)report_page(run(), {{"measured", {json(), "absent"}}}, "", [&](std::int64_t done, std::int64_t all) {
    told.push_back(done);
    of = all;
  });
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.front(), 0);
  EXPECT_EQ(told.back(), of);
  EXPECT_EQ(std::ssize(told), of + 1);
}

TEST_F(ReportTest, RefusesAFolderThatHoldsNoRun) {
  EXPECT_THAT(test::message_of<ConfigError>([&] { (void)read_run(directory_ / "none"); }), HasSubstr("no such run"));
  EXPECT_THAT(test::message_of<ConfigError>([&] { (void)read_run(directory_); }), HasSubstr("not a run directory"));
}

TEST_F(ReportTest, ModelCardHasTheResultsOfEveryCategory) {
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  put("bundle/base/config.json", R"({"_name_or_path": "owner/small-model"})");
  const std::string card = model_card(run(), {.license = "apache-2.0", .base_model = ""});
  EXPECT_THAT(card, testing::StartsWith("---\nlicense: \"apache-2.0\"\nbase_model: \"owner/small-model\"\n"));
  EXPECT_THAT(card, HasSubstr("value: 1.0000"));
  put("bundle/base/config.json", R"({"_name_or_path": "/models/own/small"})");
  EXPECT_THAT(model_card(run(), {}), Not(HasSubstr("base_model")));
}

TEST_F(ReportTest, ModelCardOfAnUnfinishedRunNamesNoFiguresAndNoUse) {
  put("config.yaml", "name: young\n");
  const std::string unfinished = model_card(run(), {});
  EXPECT_THAT(unfinished, Not(HasSubstr("How to use it")));
  EXPECT_THAT(unfinished, Not(HasSubstr("test split")));
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  put("bundle/dmoerm.json", "{}");
  const std::string finished = model_card(run(), {});
  EXPECT_THAT(finished, HasSubstr("DmoermRewardModel.from_pretrained"));
  EXPECT_THAT(finished, HasSubstr("test split"));
}

TEST_F(ReportTest, TheSameRunIsNotComparedWithItself) {
  put_results("chat", std::vector<int>(50, 1), std::vector<int>(50, 3));
  std::vector<std::int64_t> read;
  const auto on_run = [&](std::int64_t done, std::int64_t all) {
    read.push_back(done);
    EXPECT_EQ(all, 2);
  };
  EXPECT_THROW((void)compare_runs({directory_.string(), (directory_ / "." / "").string()}, on_run), ConfigError);
  EXPECT_EQ(read, (std::vector<std::int64_t>{0, 1}));
}

json group(const std::vector<double>& lengths, const json& scores, const json& pairs) {
  return {{"id", "g"}, {"prompt", 0}, {"lengths", lengths}, {"scores", scores}, {"pairs", {{"overall", pairs}}}};
}

TEST(ScoreFigures, LengthIsToldFromReading) {
  json scores = {{"groups", json::array()}};
  for (int i = 0; i < 40; ++i) {
    const bool longer = i % 2 == 0;  // the better response is first, and longer in every second group
    scores["groups"].push_back(group(longer ? std::vector<double>{9, 3} : std::vector<double>{3, 9},
                                     {{"reads", {1, 0}}, {"counts", longer ? json{1, 0} : json{0, 1}}}, json::array({{0, 1}})));
    scores["groups"].back()["prompt"] = i;
  }
  const std::vector<ScoredGroup> groups = groups_of(scores);
  const LengthFigures reads = length_figures(groups, "reads"), counts = length_figures(groups, "counts");
  EXPECT_EQ(reads.right_if_shorter.value, 1);
  EXPECT_EQ(counts.right_if_shorter.value, 0);
  EXPECT_EQ(counts.right_if_longer.value, 1);
  EXPECT_EQ(counts.prefers_longer, 1);
  EXPECT_EQ(reads.prefers_longer, 0.5);
  EXPECT_NEAR(counts.correlation, 1, 1e-9);
  EXPECT_NEAR(reads.correlation, 0, 1e-9);
}

TEST(ScoreFigures, CorrelationsAreWithinGroups) {
  json scores = {{"groups", json::array()}};
  for (int i = 0; i < 10; ++i)  // levels of the groups agree, orders within them are opposite
    scores["groups"].push_back(group({1, 1}, {{"point/a", {i, i + 0.25}}, {"point/b", {i + 0.25, i}}}, json::array()));
  const Correlations found = correlations_of(groups_of(scores), {"a", "b"}, {});
  EXPECT_NEAR(found.values[0][1], -1, 1e-9);
  EXPECT_EQ(found.values[0][0], 1);
}

TEST(ScoreFigures, ScoresThatDoNotFitAreRefused) {
  for (const json& bad : {group({1, 2}, {{"m", {1}}}, json::array()), group({1, 2}, {{"m", {1, 2}}}, json::array({{0, 2}})),
                          group({1, 2}, {{"m", "x"}}, json::array())})
    EXPECT_THROW((void)groups_of({{"groups", json::array({bad})}}), std::exception);
}

}  // namespace
}  // namespace dmoerm::report
