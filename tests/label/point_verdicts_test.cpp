// Tests the verdicts and the report of a point with a store that the test fills itself; no judge is asked.
#include "label/point_verdicts.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "label/label_report.h"
#include "preference/group_json.h"
#include "support/scratch.h"

namespace dmoerm::label {
namespace {

class PointVerdictsTest : public test::Scratch {
 protected:
  using Answer = std::function<std::optional<preference::Verdict>(const Slot&)>;

  PointVerdictsTest() {
    labels_.judges.resize(1);
    labels_.judges[0].model = "judge";
    labels_.judges[0].answer = config::AnswerMode::verdict_line;
  }

  /// A group of two responses without any labels. @param words  number of words in each response
  static preference::Group group(int number, int words = 5) {
    preference::Group group;
    group.id = "g" + std::to_string(number);
    group.category = "summarization";
    group.split = preference::Split::train;
    group.prompt = {{"user", "Summarise article " + std::to_string(number) + "."}};
    for (const char* name : {"first", "second"}) {
      std::string text = std::string("The ") + name + " summary.";
      for (int w = 0; w < words; ++w) text += " word";
      group.responses.emplace_back().text = text;
    }
    group.file = "data";
    group.line = number + 1;
    return group;
  }

  /// Store the answers that `answer` gives to the questions, and read the verdicts.
  PointVerdicts verdicts(const std::vector<preference::Group>& groups, const Answer& answer) {
    std::string text;
    std::vector<GroupPairs> pairs;
    for (const preference::Group& g : groups) {
      text += preference::to_json_line(g) + "\n";
      pairs.push_back({pairs.size(), {{0, 1}}});
    }
    GroupFile file(write("groups.jsonl", text));
    const std::vector<judge::Judge> judges = judge::make_judges(labels_, DMOERM_SOURCE "/configs/judge", {});
    const PointQuestions questions({"summarization", "coherence"}, file, judges, pairs,
                                   static_cast<std::int32_t>(labels_.samples));
    label_store::LabelStore store = label_store::LabelStore::open(directory_ / "store");
    PointQuestions to_answer = questions;
    while (const auto slot = to_answer.next()) {
      const auto built = to_answer.build(*slot, 0);
      const auto verdict = answer(*slot);
      if (!built || !verdict) continue;
      label_store::Label label;
      label.key = built->question.key;
      label.pair = built->question.pair;
      label.verdict = *verdict;
      store.append(std::vector{label});
    }
    return read_verdicts(questions, store, judges, false);
  }

  static std::optional<preference::Verdict> prefers_a(const Slot& slot) {
    return slot.swapped ? preference::Verdict::second : preference::Verdict::first;
  }
  static std::optional<preference::Verdict> prefers_what_is_first(const Slot&) { return preference::Verdict::first; }
  static std::string page(const PointVerdicts& verdicts) { return report_page({verdicts}, {}, "USD", true); }
  static nlohmann::json json_of(const PointVerdicts& verdicts) { return report_json({verdicts}, {}, "USD")["points"][0]; }

  config::LabelsConfig labels_;
};

TEST_F(PointVerdictsTest, DoesNotWaitForPairsThatAreTooLong) {
  labels_.too_long = config::TooLong::skip;
  labels_.judges[0].context_tokens = 1200;
  const PointVerdicts v =
      verdicts({group(0), group(1, 3000), group(2)}, [](const Slot& s) { return s.group == 2 ? std::nullopt : prefers_a(s); });
  EXPECT_EQ(v.vote.pairs(), 1);
  EXPECT_EQ(v.skipped, 1);
  EXPECT_EQ(v.not_asked, 1);
  EXPECT_EQ(v.cut, 0);
  EXPECT_EQ(json_of(v)["skipped"], 1);
  EXPECT_EQ(json_of(v)["not_asked"], 1);
  EXPECT_NE(page(v).find("pairs skipped as too long"), std::string::npos);
}

TEST_F(PointVerdictsTest, CountsPairsWhoseTextsWereCut) {
  labels_.too_long = config::TooLong::truncate;
  labels_.judges[0].context_tokens = 1200;
  const PointVerdicts v = verdicts({group(0), group(1, 3000)}, prefers_a);
  EXPECT_EQ(v.vote.pairs(), 2);
  EXPECT_EQ(v.cut, 1);
  EXPECT_EQ(v.skipped, 0);
  EXPECT_EQ(json_of(v)["cut"], 1);
  EXPECT_NE(page(v).find("of these with texts cut"), std::string::npos);
}

TEST_F(PointVerdictsTest, NotesAPointWithoutVerdicts) {
  EXPECT_NE(page(verdicts({}, prefers_a)).find("**summarization/coherence has no pairs**"), std::string::npos);
  const std::string waiting = page(verdicts({group(0)}, [](const Slot&) { return std::nullopt; }));
  EXPECT_NE(waiting.find("**summarization/coherence has no verdicts**: 1 of its pairs are not asked yet and 0"),
            std::string::npos)
      << waiting;
  EXPECT_EQ(page(verdicts({group(0)}, prefers_a)).find("**"), std::string::npos);
  EXPECT_EQ(waiting.find("|"), std::string::npos) << "tables without rows are left out: " << waiting;
  EXPECT_NE(waiting.find("Paid so far: 0.000000 USD for 0 requests"), std::string::npos) << waiting;
}

TEST_F(PointVerdictsTest, SaysWhereNoPriceIsSet) {
  EXPECT_NE(report_page({}, {1, 100, 10, 0}, "USD", false)
                .find("Paid so far: 1 request, 100 prompt tokens and 10 completion tokens; no "
                      "price is set (price_prompt and price_completion"),
            std::string::npos);
  EXPECT_NE(report_page({}, {1, 0, 0, 0}, "USD", true).find("Paid so far: 0.000000 USD for 1 request, 0 prompt"),
            std::string::npos)
      << "such as a failed request, where prices are set";
  EXPECT_NE(report_page({}, {2, 100, 10, 7}, "USD", true).find("Paid so far: 0.000007 USD for 2 requests, 100 prompt"),
            std::string::npos);
  PointEstimate estimate;
  estimate.target = {"summarization", "coherence"};
  estimate.total = 10;
  const std::string table = estimate_table({estimate}, "USD", "an estimate", {"local-8b"});
  EXPECT_NE(table.find("| no price set"), std::string::npos) << table;
  EXPECT_EQ(table.find("0.000000"), std::string::npos) << table;
  EXPECT_NE(table.find("No price is set for local-8b: set price_prompt and price_completion of each in labels.judges"),
            std::string::npos)
      << table;
  estimate.cost_max_micros = 5;
  const std::string some = estimate_table({estimate}, "USD", "an estimate", {"local-8b"});
  EXPECT_NE(some.find("0.000005 USD"), std::string::npos) << some;
  EXPECT_NE(some.find("local-8b, whose requests are left out: set"), std::string::npos) << some;
  estimate.known = 10;
  estimate.cost_max_micros = 0;
  EXPECT_NE(estimate_table({estimate}, "USD", "an estimate").find("0.000000 USD"), std::string::npos)
      << "all is answered already";
  estimate.known = 5;
  EXPECT_EQ(estimate_table({estimate}, "USD", "an estimate").find("no price set"), std::string::npos)
      << "a price may be too small to show";
}

TEST_F(PointVerdictsTest, CountsPositionBiasOfAnswersAndNotOfTheVote) {
  labels_.samples = 3;
  labels_.judges[0].temperature = 1;
  const PointVerdicts v = verdicts({group(0), group(1)}, prefers_what_is_first);
  EXPECT_EQ(v.judges[0].pairs(), 6);
  EXPECT_EQ(v.judges[0].first_both, 6);
  EXPECT_EQ(v.vote.pairs(), 2);
  EXPECT_EQ(v.vote.first_both, 0);
  EXPECT_FALSE(json_of(v)["vote"].contains("first_shown_both"));
  const std::string text = page(v);
  EXPECT_NE(text.find("answers in both orders"), std::string::npos);
  const std::size_t vote = text.find("all (vote)");
  ASSERT_NE(vote, std::string::npos) << text;  // samples make a vote too
  const std::string row = text.substr(vote, text.find('\n', vote) - vote);
  EXPECT_NE(row.find("100.0 %"), std::string::npos) << row;  // position bias
  EXPECT_EQ(row.find("100.0 %"), row.rfind("100.0 %")) << row;
}

/// The group with recorded verdicts.
preference::Group recorded(preference::Group group, const std::vector<preference::RecordedVerdict>& verdicts) {
  group.verdicts = verdicts;
  return group;
}

TEST_F(PointVerdictsTest, CountsAgreementWithRecordedVerdictsThatAreBelieved) {
  const std::vector<preference::Group> groups = {
      recorded(group(0), {{"coherence", 0, 1, preference::Verdict::first, preference::Verdict::second}}),  // a
      recorded(group(1), {{"coherence", 1, 0, preference::Verdict::first, preference::Verdict::second}}),  // b
      recorded(group(2), {{"coherence", 1, 0, preference::Verdict::second, preference::Verdict::first}}),  // a
      recorded(group(3),
               {{"coherence", 0, 1, preference::Verdict::first, preference::Verdict::first}}),  // position bias: no opinion
      recorded(group(4), {{"coherence", 0, 1, preference::Verdict::first, preference::Verdict::error}}),  // no opinion
      recorded(group(5), {{"fluency", 0, 1, preference::Verdict::first, preference::Verdict::second}}),   // of another point
      recorded(group(6), {{"coherence", 0, 1, preference::Verdict::first, preference::Verdict::second},
                          {"coherence", 0, 1, preference::Verdict::second, preference::Verdict::first}}),  // contradiction
      recorded(group(7), {{"overall", 0, 1, preference::Verdict::second, preference::Verdict::first}})};
  const PointVerdicts v = verdicts(groups, prefers_a);
  EXPECT_EQ(v.vote.point.total, 3);
  EXPECT_EQ(v.vote.point.right, 2);
  EXPECT_EQ(v.vote.overall.total, 1);
  EXPECT_EQ(v.vote.overall.right, 0);
}

TEST_F(PointVerdictsTest, PrefersStatedPairsAndScoresToRecordedVerdicts) {
  std::vector<preference::Group> groups(
      3, recorded(group(0), {{"coherence", 0, 1, preference::Verdict::second, preference::Verdict::first}}));  // b
  for (int i = 0; i < 3; ++i) groups[static_cast<std::size_t>(i)].line = i + 1;
  groups[0].pairs = {{"coherence", 0, 1}};
  groups[1].responses[0].scores = {{"coherence", 2}};
  groups[1].responses[1].scores = {{"coherence", 1}};
  groups[2].responses[0].scores = {{"coherence", 1}};  // equally good
  groups[2].responses[1].scores = {{"coherence", 1}};
  const PointVerdicts v = verdicts(groups, prefers_a);
  EXPECT_EQ(v.vote.point.total, 2);
  EXPECT_EQ(v.vote.point.right, 2);
}

TEST(GroupJson, KeepsRecordedVerdicts) {
  preference::Group group;
  group.responses.resize(3);
  group.verdicts = {{"tone", 0, 2, preference::Verdict::first, preference::Verdict::unparsable},
                    {"fact", 1, 2, preference::Verdict::tie, preference::Verdict::tie}};
  const preference::Group again = preference::group_from_json_line(preference::to_json_line(group));
  ASSERT_EQ(again.verdicts.size(), 2U);
  EXPECT_EQ(again.verdicts[0].point, "tone");
  EXPECT_EQ(again.verdicts[0].a, 0);
  EXPECT_EQ(again.verdicts[0].b, 2);
  EXPECT_EQ(again.verdicts[0].first_order, preference::Verdict::first);
  EXPECT_EQ(again.verdicts[0].second_order, preference::Verdict::unparsable);
  EXPECT_EQ(again.verdicts[1].point, "fact");
  group.verdicts.clear();
  EXPECT_EQ(preference::to_json_line(group).find("verdicts"), std::string::npos);  // files of before stay as they are
}

}  // namespace
}  // namespace dmoerm::label
