#include "evidence/draw.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "data/group_selection.h"
#include "data/ingest.h"
#include "evidence/cell_results.h"
#include "evidence/run_cells.h"
#include "evidence/tables.h"
#include "support/scratch.h"
#include "support/word_renderer.h"

namespace dmoerm::evidence {
namespace {

constexpr int kPrompts = 100;

/// Prompts with three responses, the last of which is the best; prompts 0 to 9 are of the test split.
/// @param down  whether the last prompt comes first
std::string rows(const std::string& category = "chat", bool down = false) {
  std::string text;
  for (int line = 0; line < kPrompts; ++line) {
    const int i = down ? kPrompts - 1 - line : line;
    nlohmann::json row = {{"id", fmt::format("p{}", i)},
                          {"category", category},
                          {"split", i < 10       ? "test"
                                    : i % 2 == 0 ? "train"
                                                 : "validation"},
                          {"prompt", fmt::format("ask {}", i)},
                          {"responses", nlohmann::json::array()}};
    for (int r = 0; r < 3; ++r)
      row["responses"].push_back(
          {{"text", fmt::format("word{} {}", r, i)}, {"overall", r}, {"overall_raters", {r, r}}, {"scores", {{"polite", -r}}}});
    text += row.dump() + "\n";
  }
  return text;
}

class DrawTest : public test::Scratch {
 protected:
  DrawTest() {
    config_.categories = {{.name = "chat", .points = {"polite", "first_rater"}, .score_gap_min = 1}};
    config_.data.inputs.push_back({write("rows.jsonl", rows()), "auto", "", config::InputSplit::own, 1.0});
    store_ = std::make_unique<data::TokenStore>(ingest(config_.data, "store.h5"));
    scores_ = std::make_unique<StoreScores>(directory_ / "store.h5");
  }
  data::TokenStore ingest(const config::DataConfig& data, const char* name) {
    data::IngestRequest request;
    request.data = data, request.categories = config_.categories;
    request.renderer = test::word_renderer(96);
    request.output = directory_ / name;
    data::ingest(request);
    return data::TokenStore::open(request.output);
  }
  [[nodiscard]] DrawnCategory draw(std::uint64_t seed, const std::string& regime = "12-rater") const {
    const auto chosen = choose_prompts(config_, *store_, {.trained = 40, .tested = 15, .block_lines = 5, .seed = 17});
    return draw_labels(config_, *store_, *scores_, chosen, regime_from(regime), seed).at(0);
  }
  [[nodiscard]] std::set<std::string> ids(const DrawnCategory& drawn, bool tested, bool labelled = false) const {
    std::set<std::string> found;
    for (std::size_t g = 0; g < drawn.groups.size(); ++g) {
      if ((drawn.split[g] == preference::Split::test) == tested && (!labelled || !drawn.overall[g].empty()))
        found.insert(std::string(store_->group(drawn.groups[g]).id));
    }
    return found;
  }

  config::RunConfig config_;
  std::unique_ptr<data::TokenStore> store_;
  std::unique_ptr<StoreScores> scores_;
};

TEST_F(DrawTest, DrawsDifferInLabelsAndTestTheSamePrompts) {
  const DrawnCategory first = draw(17), second = draw(18);
  EXPECT_EQ(ids(first, true).size(), 15U);
  EXPECT_EQ(ids(first, false).size(), 40U);
  EXPECT_EQ(ids(first, true), ids(second, true));
  EXPECT_EQ(ids(first, false), ids(second, false));
  EXPECT_EQ(ids(first, false, true).size(), 12U);
  EXPECT_NE(ids(first, false, true), ids(second, false, true));
  EXPECT_EQ(ids(draw(17, "all-none"), false, true).size(), 40U);
  std::set<std::int64_t> tested, trained, validated;
  for (std::size_t g = 0; g < first.groups.size(); ++g) {
    EXPECT_GE(std::stoi(std::string(store_->group(first.groups[g]).id.substr(1))), 10) << "the test split stays unread";
    if (first.split[g] == preference::Split::test) {
      tested.insert(first.block[g]);
      EXPECT_EQ(first.overall[g].size(), 3U) << "tested by all clean pairs";
    } else {
      (first.split[g] == preference::Split::train ? trained : validated).insert(first.block[g]);
    }
  }
  for (const std::int64_t block : tested) EXPECT_FALSE(trained.contains(block) || validated.contains(block));
  for (const std::int64_t block : validated) EXPECT_FALSE(trained.contains(block));
  EXPECT_FALSE(validated.empty());
}

TEST_F(DrawTest, NoRunLearnsFromAConversationThatAnotherCategoryTests) {
  config_.categories.push_back({.name = "letters", .points = {"polite"}, .score_gap_min = 1});
  config_.data.inputs.push_back(
      {write("letters.jsonl", rows("letters", /*down=*/true)), "auto", "", config::InputSplit::own, 1.0});
  store_ = std::make_unique<data::TokenStore>(ingest(config_.data, "both.h5"));
  scores_ = std::make_unique<StoreScores>(directory_ / "both.h5");
  const auto drawn = choose_prompts(config_, *store_, {.trained = 0, .tested = 0, .block_lines = 3, .seed = 17});
  ASSERT_EQ(drawn.size(), 2U);
  std::set<std::uint64_t> tested[2], learnt;
  for (std::size_t c = 0; c < 2; ++c) {
    for (std::size_t g = 0; g < drawn[c].groups.size(); ++g)
      (drawn[c].split[g] == preference::Split::test ? tested[c] : learnt).insert(store_->group(drawn[c].groups[g]).session_key);
  }
  EXPECT_NE(tested[0], tested[1]) << "the categories are dealt to folds differently";
  for (const auto& of_category : tested) {
    for (const std::uint64_t conversation : of_category) EXPECT_FALSE(learnt.contains(conversation));
  }
  EXPECT_GE(learnt.size(), 50U);
}

TEST_F(DrawTest, RowsOfOneClusterAreAllTestedOrNone) {
  std::string text;
  std::istringstream lines(rows());
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json row = nlohmann::json::parse(line);
    row["document"] = std::stoi(row.at("id").get<std::string>().substr(1)) % 12;  // rows of one document are far from each other
    text += row.dump() + "\n";
  }
  config_.data.inputs.front().path = write("documents.jsonl", text);
  store_ = std::make_unique<data::TokenStore>(ingest(config_.data, "documents.h5"));
  scores_ = std::make_unique<StoreScores>(directory_ / "documents.h5");
  DrawSettings settings{.trained = 0, .tested = 0, .cluster = "document", .seed = 17};
  const auto chosen = choose_prompts(config_, *store_, settings);
  const DrawnCategory& drawn = chosen.at(0);
  std::map<int, preference::Split> split;
  std::map<int, std::int64_t> block;
  for (std::size_t g = 0; g < drawn.groups.size(); ++g) {
    const int document = std::stoi(std::string(store_->group(drawn.groups[g]).id.substr(1))) % 12;
    EXPECT_EQ(split.try_emplace(document, drawn.split[g]).first->second, drawn.split[g]) << document;
    EXPECT_EQ(block.try_emplace(document, drawn.block[g]).first->second, drawn.block[g]) << document;
  }
  EXPECT_EQ(split.size(), 12U);
  settings.cluster = "none";
  const std::string said = test::message_of<DataError>([&] { (void)choose_prompts(config_, *store_, settings); });
  EXPECT_NE(said.find("which --cluster names"), std::string::npos) << said;
  std::filesystem::remove(config_.data.inputs.front().path);  // draws need it no more
  const auto labelled = [&](std::uint64_t draw) {
    return ids(draw_labels(config_, *store_, *scores_, chosen, regime_from("12-none"), draw).at(0), false, true);
  };
  EXPECT_EQ(labelled(17).size(), 12U);
  EXPECT_NE(labelled(17), labelled(18));
}

TEST_F(DrawTest, WrittenRowsHaveTheLabelsOfTheDraw) {
  const DrawnCategory drawn = draw(17, "12-flip40");
  data::write_selected_groups(config_, directory_ / "groups.jsonl");
  write_draw({drawn}, *store_, directory_ / "groups.jsonl", directory_ / "draw.jsonl");
  config::DataConfig data;
  data.inputs.push_back({directory_ / "draw.jsonl", "auto", "", config::InputSplit::own, 1.0});
  const data::TokenStore read = ingest(data, "read.h5");
  ASSERT_EQ(read.size(), std::ssize(drawn.groups));
  std::map<std::string, std::size_t> place;
  for (std::size_t g = 0; g < drawn.groups.size(); ++g) place[std::string(store_->group(drawn.groups[g]).id)] = g;
  int turned = 0;
  for (std::int64_t i = 0; i < read.size(); ++i) {
    const std::size_t g = place.at(std::string(read.group(i).id));
    EXPECT_EQ(read.group(i).split, drawn.split[g]);
    EXPECT_EQ(read.preferences(i, "polite", 1).size(), 3U);
    const auto overall = read.preferences(i, "overall", 0);
    EXPECT_EQ(overall.size(), drawn.overall[g].size());
    for (const preference::Preference& p : overall) turned += p.winner < p.loser ? 1 : 0;
    for (const preference::Preference& p : overall)
      EXPECT_TRUE(std::ranges::any_of(
          drawn.overall[g], [&](const preference::Preference& own) { return own.winner == p.winner && own.loser == p.loser; }));
  }
  EXPECT_GT(turned, 3);
  EXPECT_LT(turned, 30) << "of 36 pairs that are not tested";
  EXPECT_LT(read.label_index(0, "first_rater"), 0);
}

TEST_F(DrawTest, RowsThatAreGoneAreNamed) {
  const DrawnCategory drawn = draw(17);
  (void)write("groups.jsonl", "");
  const std::string said =
      test::message_of<DataError>([&] { write_draw({drawn}, *store_, directory_ / "groups.jsonl", directory_ / "draw.jsonl"); });
  EXPECT_NE(said.find("rows.jsonl:"), std::string::npos) << said;
  EXPECT_FALSE(std::filesystem::exists(directory_ / "draw.jsonl"));
}

TEST_F(DrawTest, ACategoryWithoutEnoughPromptsIsNamed) {
  const DrawSettings settings{.trained = 40, .tested = 15, .block_lines = 1000, .seed = 17};
  const std::string said = test::message_of<DataError>([&] { (void)choose_prompts(config_, *store_, settings); });
  EXPECT_NE(said.find("category chat has 0 prompts to train on"), std::string::npos) << said;
}

/// Runs in which each model orders the pairs of its first tested prompts correctly, as many as its limit says, and those of the
/// others wrongly.
class RunCellsTest : public DrawTest {
 protected:
  RunCellsTest() : drawn_(draw(17)), about_({{"regime", "12-rater"}, {"blocks", tested_blocks({drawn_}, *store_)}}) {}
  RunOfCategory run(const std::string& name, std::map<std::string, int> limits, int leave_out = 0) {
    nlohmann::json groups = nlohmann::json::array();
    int number = 0;
    for (std::size_t g = 0; g < drawn_.groups.size(); ++g) {
      if (drawn_.split[g] != preference::Split::test || number++ < leave_out) continue;
      nlohmann::json scores;
      for (const auto& [model, limit] : limits)
        scores[model] = number <= limit ? std::vector<double>{0, 1, 2} : std::vector<double>{2, 1, 0};
      groups.push_back({{"id", std::string(store_->group(drawn_.groups[g]).id)},
                        {"lengths", {100, 95, 50}},
                        {"pairs", {{"overall", {{1, 0}, {2, 0}, {2, 1}}}}},
                        {"scores", scores}});
    }
    return {write(name, nlohmann::json{{"groups", groups}}.dump()), "stack"};
  }
  DrawnCategory drawn_;
  nlohmann::json about_;
};

TEST_F(RunCellsTest, RunsAreSeedsOfTheTables) {
  const RunOfCategory first = run("1.json", {{"dmoerm", 15}, {"single", 3}, {"pooled", 6}, {"category", 9}}),
                      second = run("2.json", {{"dmoerm", 12}, {"single", 6}, {"pooled", 6}, {"category", 9}});
  write_run_cells(about_, {{"chat", {first, second}}}, directory_ / "cells-runs");
  const Tables tables = make_tables({.folder = directory_ / "cells-runs",
                                     .main = {"chat"},
                                     .small = {},
                                     .regimes = {"12-rater"},
                                     .primary = "12-rater",
                                     .folds = 1});
  EXPECT_NEAR(tables.figures["main"]["dmoerm"][0].get<double>(), 0.9, 1e-9);
  EXPECT_NEAR(tables.figures["minus_single"][0].get<double>(), 0.9 - 0.3, 1e-9);
  EXPECT_NEAR(tables.figures["minus_pooled"][0].get<double>(), 0.9 - 0.4, 1e-9);
  EXPECT_NEAR(tables.figures["minus_own"][0].get<double>(), 0.9 - 0.6, 1e-9);
  EXPECT_EQ(tables.figures["chosen"]["chat"]["aggregator"]["stack"], 2);
  EXPECT_NE(tables.markdown.find("chat (15)"), std::string::npos) << tables.markdown;
  const auto results = read_cells(directory_ / "cells-runs", "12-rater", {"chat"}, 1);
  EXPECT_NEAR(results.at("chat").arms.at("dmoerm").at_equal_length.front(), 1, 1e-9) << "the pair of 100 and 95 tokens";
  EXPECT_LT(std::set(results.at("chat").clusters.begin(), results.at("chat").clusters.end()).size(), 15U) << "blocks of lines";
}

TEST_F(RunCellsTest, RunsOfOtherPromptsAreRefused) {
  const RunOfCategory first = run("1.json", {{"dmoerm", 15}}), second = run("2.json", {{"dmoerm", 12}}, 2);
  const std::string said = test::message_of<DataError>([&] {
    write_run_cells(about_, {{"chat", {first, second}}}, directory_ / "cells-runs");
  });
  EXPECT_NE(said.find("2.json: the run was tested on 13 prompts of chat"), std::string::npos) << said;
  const RunOfCategory without_dmoerm = run("3.json", {{"single", 15}});
  EXPECT_NE(test::message_of<DataError>([&] {
              write_run_cells(about_, {{"chat", {first, without_dmoerm}}}, directory_ / "cells-runs");
            }).find("one has scores of the model dmoerm, the other has not"),
            std::string::npos);
  about_["blocks"]["chat"].erase(about_["blocks"]["chat"].begin());
  EXPECT_NE(test::message_of<DataError>([&] {
              write_run_cells(about_, {{"chat", {first}}}, directory_ / "cells-runs");
            }).find("which the draws do not test"),
            std::string::npos);
}

}  // namespace
}  // namespace dmoerm::evidence
