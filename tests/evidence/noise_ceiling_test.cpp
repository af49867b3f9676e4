#include "evidence/noise_ceiling.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "data/ingest.h"
#include "preference/formats_of_groups.h"
#include "support/scratch.h"
#include "support/word_renderer.h"

namespace dmoerm::evidence {
namespace {

TEST(RaterAgreement, CountsTiesOfOneRaterAHalfAndLeavesOutThoseOfBoth) {
  // Gaps of the two raters: (1, 1), (2, 0), (1, -1), and (0, 0) with the fourth response.
  const std::vector<RaterScores> prompts = {{{0, 0}, {1, 1}, {2, 0}, {2, 0}}};
  const RaterAgreement found = rater_agreement(prompts);
  EXPECT_EQ(found.with_ties.prompts, 1);
  EXPECT_EQ(found.with_ties.pairs, 5) << "of six";
  EXPECT_NEAR(found.with_ties.share, (1 + 0.5 + 0.5 + 0 + 0) / 5, 1e-12);
  EXPECT_EQ(found.without_ties.pairs, 3);
  EXPECT_NEAR(found.without_ties.share, 1.0 / 3, 1e-12);
}

TEST(RaterAgreement, PromptsCountTheSameWhateverTheirPairs) {
  const std::vector<RaterScores> prompts = {{{0, 0}, {1, 1}},                  // one pair, alike
                                            {{0, 2}, {1, 1}, {2, 0}},          // three, not alike
                                            {{0}, {1, 1}},                     // one rater in common
                                            {{0, 0}, {preference::kMissing}},  // none
                                            {{}, {}}};
  const RaterAgreement found = rater_agreement(prompts);
  EXPECT_EQ(found.with_ties.prompts, 2);
  EXPECT_EQ(found.with_ties.pairs, 4);
  EXPECT_NEAR(found.with_ties.share, 0.5, 1e-12);
  EXPECT_EQ(rater_agreement({}).with_ties.prompts, 0);
}

TEST(RaterAgreement, TheOthersAreOneMean) {
  // The third rater disagrees. Means of the others: 2 (of 1 and 3) for it, -1 (of 3 and -5) and -2 (of 1 and -5) for the first
  // two.
  const std::vector<RaterScores> prompts = {{{0, 0, 0}, {1, 3, -5}}};
  const RaterAgreement found = rater_agreement(prompts);
  EXPECT_NEAR(found.with_ties.share, 1.0 / 3, 1e-12);
  EXPECT_EQ(found.with_others.pairs, 1);
  EXPECT_NEAR(found.with_others.share, 0, 1e-12);
  const std::vector<RaterScores> missing = {{{0, 0, preference::kMissing}, {1, 3, -5}}};
  EXPECT_NEAR(rater_agreement(missing).with_others.share, 1, 1e-12) << "a rater without a score is no rater";
}

/// Twenty prompts of each of two categories, the last five of which are of the test split. Raters of "chat" agree there and
/// nowhere else; "code" has one rater.
class NoiseCeilingTest : public test::Scratch {
 protected:
  NoiseCeilingTest() {
    config_.categories = {{.name = "chat", .points = {"polite", "calm", "first_rater"}, .score_gap_min = 1},
                          {.name = "code", .points = {"polite"}, .score_gap_min = 1}};
    write_rows("");
    data::IngestRequest request;
    request.data.inputs.push_back({directory_ / "rows.jsonl", "auto", "", config::InputSplit::own, 1.0});
    request.categories = config_.categories;
    request.renderer = test::word_renderer(96);
    request.output = directory_ / "store.h5";
    data::ingest(request);
    store_ = std::make_unique<data::TokenStore>(data::TokenStore::open(request.output));
  }
  void write_rows(const std::string& mark) const {
    std::string text;
    for (int i = 0; i < 40; ++i) {
      const bool chat = i < 20, test = i % 20 >= 15;
      nlohmann::json row = {{"id", fmt::format("{}{}", i, mark)},
                            {"category", chat ? "chat" : "code"},
                            {"split", test ? "test" : "train"},
                            {"prompt", fmt::format("ask {}", i)},
                            {"responses", nlohmann::json::array()}};
      for (int r = 0; r < 3; ++r) {
        nlohmann::json response = {
            {"text", fmt::format("word{} {}", r, i)}, {"overall", r}, {"scores", {{"polite", r}, {"calm", r}}}};
        response["overall_raters"] = chat ? nlohmann::json::array({r, test ? r : -r}) : nlohmann::json::array({r});
        if (chat) response["scores_raters"] = {{"polite", {r, 2 * r, nullptr}}, {"rude", {r, r}}};
        row["responses"].push_back(response);
      }
      text += row.dump() + "\n";
    }
    (void)write("rows.jsonl", text);
  }
  config::RunConfig config_;
  std::unique_ptr<data::TokenStore> store_;
};

TEST_F(NoiseCeilingTest, IsReadFromTheRowsOfTheSplitThatIsTested) {
  const std::vector<NoiseCeiling> trained = noise_ceilings(*store_, config_, false);
  ASSERT_EQ(trained.size(), 3U) << "overall of both, and the one point of the configuration that raters scored";
  EXPECT_EQ(trained[0].category, "chat");
  EXPECT_EQ(trained[0].label, "overall");
  EXPECT_EQ(trained[0].agreement.with_ties.prompts, 15);
  EXPECT_EQ(trained[0].agreement.with_ties.pairs, 45);
  EXPECT_NEAR(trained[0].agreement.with_ties.share, 0, 1e-12);
  EXPECT_EQ(trained[1].label, "polite");
  EXPECT_NEAR(trained[1].agreement.without_ties.share, 1, 1e-12);
  EXPECT_EQ(trained[2].category, "code");
  EXPECT_NE(trained[2].why.find("no two raters order a pair"), std::string::npos);
  const std::vector<NoiseCeiling> tested = noise_ceilings(*store_, config_, true);
  EXPECT_EQ(tested[0].agreement.with_ties.prompts, 5);
  EXPECT_NEAR(tested[0].agreement.with_ties.share, 1, 1e-12);
}

TEST_F(NoiseCeilingTest, EqualResponsesAreOne) {
  const RaterAgreement before = noise_ceilings(*store_, config_, false)[1].agreement;
  std::string rows;
  std::istringstream lines(read_file(directory_ / "rows.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json row = nlohmann::json::parse(line);
    if (row["category"] == "chat") {
      nlohmann::json again = row["responses"][2];  // polite: 2 and 4
      again["scores_raters"]["polite"] = {-100, 4, nullptr};
      row["responses"].push_back(again);
    }
    rows += row.dump() + "\n";
  }
  (void)write("rows.jsonl", rows);
  const std::vector<NoiseCeiling> merged = noise_ceilings(*store_, config_, false);
  EXPECT_EQ(merged[0].agreement.with_ties.pairs, 45) << "three pairs of each of 15 prompts, as without the copy";
  EXPECT_EQ(merged[1].agreement.with_ties.pairs, 45);
  // The first rater gives 0, 1 and the mean of 2 and -100 now, the second 0, 2 and 4: one pair of three is alike.
  EXPECT_NEAR(before.with_ties.share, 1, 1e-12);
  EXPECT_NEAR(merged[1].agreement.with_ties.share, 1.0 / 3, 1e-12);
}

TEST_F(NoiseCeilingTest, RowsThatAreGoneAreSaidToBe) {
  write_rows("x");
  EXPECT_NE(noise_ceilings(*store_, config_, false)[0].why.find("rows.jsonl has changed"), std::string::npos);
  (void)write("rows.jsonl", "");
  EXPECT_NE(noise_ceilings(*store_, config_, false)[0].why.find("rows.jsonl has changed"), std::string::npos);
  std::filesystem::remove(directory_ / "rows.jsonl");
  EXPECT_NE(noise_ceilings(*store_, config_, false)[0].why.find("is not there any more"), std::string::npos);
}

TEST_F(NoiseCeilingTest, ARowThatIsNoRowOfRatersCostsItsCategoryAlone) {
  const std::string good = read_file(directory_ / "rows.jsonl");
  const std::string bad = R"({"responses": [{"overall_raters": [1, "good"]}]})";
  (void)write("rows.jsonl", bad + good.substr(good.find('\n')));
  const std::vector<NoiseCeiling> without_chat = noise_ceilings(*store_, config_, false);
  ASSERT_EQ(without_chat.size(), 2U) << "no point of chat";
  EXPECT_NE(without_chat[0].why.find("rows.jsonl:1: \"overall_raters\""), std::string::npos) << without_chat[0].why;
  EXPECT_NE(without_chat[1].why.find("no two raters order a pair"), std::string::npos) << "code, whose rows come later, was read";

  std::size_t line = 0;
  for (int i = 0; i < 20; ++i) line = good.find('\n', line) + 1;  // the first row of code
  (void)write("rows.jsonl", good.substr(0, line) + bad + good.substr(good.find('\n', line)));
  const std::vector<NoiseCeiling> without_code = noise_ceilings(*store_, config_, false);
  ASSERT_EQ(without_code.size(), 3U);
  EXPECT_EQ(without_code[0].why, "");
  EXPECT_EQ(without_code[0].agreement.with_ties.prompts, 15);
  EXPECT_NE(without_code[2].why.find("rows.jsonl:21: \"overall_raters\""), std::string::npos) << without_code[2].why;
}

TEST_F(NoiseCeilingTest, AFileThatCannotBeReadIsAReason) {
  std::filesystem::remove(directory_ / "rows.jsonl");
  std::filesystem::create_directory(directory_ / "rows.jsonl");
  EXPECT_NE(noise_ceilings(*store_, config_, false)[0].why.find("is a directory"), std::string::npos) << "an IoError";
  std::filesystem::remove(directory_ / "rows.jsonl");
  (void)write("rows.jsonl", std::string("\x1F\x8B") + "not gzip");
  EXPECT_NE(noise_ceilings(*store_, config_, false)[0].why.find("gzip"), std::string::npos) << "a DataError";
}

TEST_F(NoiseCeilingTest, RatersThatNoModelLearnsFromAreNamed) {
  const auto section = [&] {
    nlohmann::json figures;
    return noise_ceiling_section(noise_ceilings(*store_, config_, false), figures);
  };
  const std::string said = "does not name `first_rater` among the points of chat. Under regimes of one rater";
  EXPECT_EQ(section().find("first_rater"), std::string::npos) << section();
  config_.categories.front().points.pop_back();
  EXPECT_NE(section().find(said), std::string::npos) << section();
}

TEST_F(NoiseCeilingTest, TheSectionSaysWhatIsKnown) {
  nlohmann::json figures;
  const std::string text = noise_ceiling_section(noise_ceilings(*store_, config_, false), figures);
  EXPECT_NE(text.find("| chat     | overall | 15 "), std::string::npos) << text;
  EXPECT_NE(text.find("no two raters order a pair of its responses"), std::string::npos) << text;
  EXPECT_EQ(text.find("No point has scores of single raters"), std::string::npos) << text;
  EXPECT_TRUE(text.starts_with("## Inter-rater agreement (noise ceiling)\n")) << text;
  EXPECT_NE(text.find("A model can exceed it: it is tested against the mean of all raters"), std::string::npos) << text;
  EXPECT_EQ(figures["chat"]["polite"]["with_ties"]["pairs"], 45);
  EXPECT_TRUE(figures["code"]["overall"].contains("why"));
  EXPECT_EQ(noise_ceiling_section({}, figures), "") << "nothing was read";
}

}  // namespace
}  // namespace dmoerm::evidence
