// Which settings of two runs differ: elements of lists by their names, and what files and folders hold, not only their names.
#include "report/run_settings.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "report/comparison.h"
#include "support/scratch.h"

namespace dmoerm::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Rows = std::map<std::string, std::vector<std::string>>;

constexpr const char* kCategories = R"(
categories:
  - {name: chat, points: [tone, fact], score_gap_min: 1, imported_experts: [{point: tone, dir: adapters/tone}]}
  - {name: code, points: [style], score_gap_min: 0}
)";

class RunSettings : public test::Scratch {
 protected:
  void put(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((directory_ / file).parent_path());
    (void)write(file, text);
  }
  void configure(const std::string& run, const std::string& rest) const { put(run + "/config.yaml", "name: same\n" + rest); }
  /// What a run found in the files and folders that its settings name.
  void found(const std::string& run, char backbone, char adapter, char data, char criterion) const {
    const auto hash = [](char digit) { return std::string(64, digit); };
    put(run + "/computed_on.json",
        json{{"backbone", hash(backbone)}, {"device", "cpu"}, {"imported", {{"chat/tone", hash(adapter)}}}}.dump());
    put(run + "/external.json",
        json{{"ingest",
              {{"data", {{"inputs", {{{"path", "rows.jsonl"}, {"sha256", hash(data)}}}}}},
               {"tokenizer", hash('c')},
               {"template", hash('d')}}},
             {"label/code/style", {{"prompt", "pairwise-en"}, {"bundle", ""}, {"criterion", std::string("neater ") + criterion}}}}
            .dump());
  }
  [[nodiscard]] Comparison compared() const { return compare_runs({(directory_ / "a").string(), (directory_ / "b").string()}); }
  [[nodiscard]] Rows rows() const {
    const Comparison comparison = compared();
    return {comparison.settings.begin(), comparison.settings.end()};
  }
};

TEST_F(RunSettings, CategoriesInAnotherOrderAreOneDifference) {
  configure("a", kCategories);
  configure("b", R"(
categories:
  - {name: code, points: [style], score_gap_min: 0}
  - {name: chat, points: [tone, fact], score_gap_min: 1, imported_experts: [{point: tone, dir: adapters/tone}]}
)");
  EXPECT_EQ(rows(), (Rows{{"categories", std::vector<std::string>{"chat, code", "code, chat"}}}));
}

TEST_F(RunSettings, HaveTheNameOfTheCategoryAndNotItsPlace) {
  configure("a", kCategories);
  configure("b", R"(
categories:
  - {name: code, points: [style, length], score_gap_min: 0}
  - {name: chat, points: [tone, fact], score_gap_min: 2, imported_experts: [{point: tone, dir: adapters/other}]}
)");
  EXPECT_EQ(rows(),
            (Rows{{"categories", std::vector<std::string>{"chat, code", "code, chat"}},
                  {"categories.chat.score_gap_min", std::vector<std::string>{"1", "2"}},
                  {"categories.chat.imported_experts.tone.dir", std::vector<std::string>{"adapters/tone", "adapters/other"}},
                  {"categories.code.points", std::vector<std::string>{"style", "style, length"}}}));
}

TEST_F(RunSettings, ListsWithoutNamesGoByPlace) {
  configure("a", "data:\n  inputs:\n    - {path: a.jsonl, weight: 1}\n    - {path: b.jsonl, weight: 1}\n");
  configure("b", "data:\n  inputs:\n    - {path: a.jsonl, weight: 1}\n    - {path: b.jsonl, weight: 3}\n");
  EXPECT_EQ(rows(), (Rows{{"data.inputs.1.weight", std::vector<std::string>{"1", "3"}}}));
}

TEST_F(RunSettings, OneSettingInTwoSpellingsIsNoDifference) {
  configure("a", R"(
base: {trains: all, ties: true, lr: 1e-4, patience: 20}
experts: {train: {ties: false, clip_norm: 1.0}}
categories: [{name: chat, points: [tone], clear_margin: 0.50}]
labels: {judges: [{model: m, via: batch}], currency: "1e2"}
)");
  configure("b", R"(
base: {tuning: full, ties: all, lr: 0.0001, patience: 20}
experts: {train: {ties: none, max_grad_norm: 1}}
categories: [{name: chat, points: [tone], score_gap_min: 0.5}]
labels: {judges: [{model: m, api: batch}], currency: "100"}
)");
  EXPECT_EQ(rows(), (Rows{{"labels.currency", std::vector<std::string>{"1e2", "100"}}})) << "a text is no number";
}

TEST_F(RunSettings, ContentsDifferUnderTheSameNames) {
  for (const char* run : {"a", "b"}) configure(run, kCategories);
  found("a", '1', '2', '3', 'x');
  found("b", '1', '2', '3', 'x');
  EXPECT_EQ(rows(), Rows());
  EXPECT_THAT(comparison_text(compared()), HasSubstr("The settings are the same, and so is the content"));
  found("b", '4', '5', '6', 'y');
  const auto both = [](char first, char second) {
    return std::vector<std::string>{"SHA-256 " + std::string(12, first), "SHA-256 " + std::string(12, second)};
  };
  EXPECT_EQ(rows(), (Rows{{"backbone.dir (content)", both('1', '4')},
                          {"categories.chat.imported_experts.tone.dir (content)", both('2', '5')},
                          {"data.inputs.0.path (content)", both('3', '6')},
                          {"labels.points_file (style of code)", std::vector<std::string>{"neater x", "neater y"}}}));
  for (const std::string& text : {comparison_text(compared()), comparison_page(compared())})
    EXPECT_THAT(text, HasSubstr("categories.chat.imported_experts.tone.dir (content)"));
}

TEST_F(RunSettings, ARunThatDoesNotKnowItsContentsDiffersInNone) {
  for (const char* run : {"a", "b"}) configure(run, kCategories);
  found("a", '1', '2', '3', 'x');
  EXPECT_EQ(rows(), Rows());
  for (const std::string& text : {comparison_text(compared()), comparison_page(compared())}) {
    EXPECT_THAT(text, HasSubstr("The settings are the same. Not all runs say what the files and folders that they name held"));
    EXPECT_THAT(text, testing::Not(HasSubstr("so is the content")));
  }
  put("b/computed_on.json", R"({"backbone": 7, "imported": ["x"]})");
  put("b/external.json", R"({"ingest": {"data": []}, "label/code/style": null})");
  EXPECT_EQ(rows(), Rows()) << "damaged files say nothing";
}

}  // namespace
}  // namespace dmoerm::report
