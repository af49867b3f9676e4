#include "eval/best_of_n.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/rng.h"
#include "eval/bon_figures.h"
#include "eval/read_lists.h"
#include "eval/scorers.h"
#include "support/captured_log.h"
#include "support/scratch.h"

namespace dmoerm::eval {
namespace {

TEST(BestOfN, EqualsTheReferenceFigures) {
  const std::vector<double> proxy = {1, 2, 3, 4}, gold = {.1, .5, .3, .9}, lengths = {4, 3, 2, 1};
  const double expected[] = {.45, .63333333, .75, .9};
  for (std::int64_t n = 1; n <= 4; ++n) EXPECT_NEAR(best_of_n(proxy, gold, lengths, n).gold, expected[n - 1], 1e-8) << n;
  for (const auto& [n, kl] : {std::pair{2, .19314718},
                              {4, .63629436},
                              {16, 1.83508872},
                              {64, 3.174508},
                              {256, 4.549084},
                              {1024, 5.932448},
                              {12500, 8.433564}})
    EXPECT_NEAR(best_of_n_kl(n), kl, 1e-6) << n;
  EXPECT_EQ(sizes_up_to(60), (std::vector<std::int64_t>{1, 2, 4, 8, 16, 32, 60}));
  EXPECT_EQ(sizes_up_to(1), (std::vector<std::int64_t>{1}));
}

/// The same by looking at every subset. Equal highest scores share the pick.
BestOfN by_enumeration(const std::vector<double>& proxy, const std::vector<double>& gold, const std::vector<double>& lengths,
                       int n) {
  BestOfN sum;
  double subsets = 0;
  for (unsigned set = 0; set < 1U << proxy.size(); ++set) {
    if (__builtin_popcount(set) != n) continue;
    std::vector<std::size_t> in, top;
    for (std::size_t i = 0; i < proxy.size(); ++i) {
      if ((set >> i & 1U) != 0) in.push_back(i);
    }
    double best = -INFINITY, longest = -INFINITY;
    for (const std::size_t i : in) best = std::max(best, proxy[i]), longest = std::max(longest, lengths[i]);
    std::ranges::copy_if(in, std::back_inserter(top), [&](std::size_t i) { return proxy[i] == best; });
    for (const std::size_t i : top) {
      const auto share = 1 / static_cast<double>(top.size());
      sum.proxy += share * proxy[i];
      sum.gold += share * gold[i];
      sum.longest += lengths[i] == longest ? share : 0;
    }
    subsets += 1;
  }
  return {sum.proxy / subsets, sum.gold / subsets, sum.longest / subsets};
}

TEST(BestOfN, EqualsEnumerationWithEqualScoresAndLengths) {
  Rng rng(4);
  for (int trial = 0; trial < 30; ++trial) {
    std::vector<double> proxy, gold, lengths;
    for (int i = 0; i < 9; ++i) {
      proxy.push_back(static_cast<double>(rng.below(trial % 2 == 0 ? 4 : 1000)));
      gold.push_back(rng.normal());
      lengths.push_back(static_cast<double>(rng.below(5)));
    }
    for (int n = 1; n <= 9; ++n) {
      const BestOfN exact = best_of_n(proxy, gold, lengths, n), slow = by_enumeration(proxy, gold, lengths, n);
      EXPECT_NEAR(exact.proxy, slow.proxy, 1e-9);
      EXPECT_NEAR(exact.gold, slow.gold, 1e-9);
      EXPECT_NEAR(exact.longest, slow.longest, 1e-9) << "trial " << trial << ", n " << n;
    }
  }
}

TEST(BestOfN, HoldsForLongLists) {
  std::vector<double> proxy, ones(12600, 1), lengths;
  for (int i = 0; i < 12600; ++i) proxy.push_back(i), lengths.push_back(12600 - i);
  for (const std::int64_t n : {1, 2, 1024, 6144, 12500, 12600})
    EXPECT_NEAR(best_of_n(proxy, ones, lengths, n).gold, 1, 1e-9) << n;
  EXPECT_NEAR(best_of_n(proxy, ones, proxy, 64).longest, 1, 1e-6) << "the length is the score";
  EXPECT_NEAR(best_of_n(proxy, ones, lengths, 64).longest, 0, 1e-9) << "the best is the shortest";
}

class Lists : public test::Scratch {
 protected:
  Data read(const std::string& text, const std::string& gold, std::int64_t smallest = 2) {
    return read_lists({write("lists.jsonl", text)}, gold, smallest);
  }
};

constexpr const char* kAnswers =
    R"({"question":"q","answers":["a b","c","a b"],"gold_scores":[1,2,3],"proxy_scores":[0.1,0.3,0.2]})";
constexpr const char* kNative =
    R"({"id":"n","prompt":"p","responses":[{"text":"x","overall":1,"scores":{"t":4}},{"text":"y","overall":2,"scores":{"t":3}},{"text":"z"}]})";

TEST_F(Lists, NameAListOfScoresOfAnotherLength) {
  const std::string text = R"({"answers":["a","b","c"],"gold_scores":[1,1],"proxy_scores":[1,2,3]})";
  const std::string said = test::message_of<DataError>([&] { read(text, "gold_scores"); });
  EXPECT_NE(said.find("\"gold_scores\", which --gold names, has 2 values, and the row has 3 responses"), std::string::npos)
      << said;
}

TEST_F(Lists, RefuseWhatIsNoNumberWhereTheCallNeedsOne) {
  const auto refusal = [&](const std::string& text, const std::vector<std::string>& fields = {}) {
    const std::string file = write("lists.jsonl", text);
    return test::message_of<DataError>([&] { (void)read_lists({file}, "g", 2, "", fields); });
  };
  const std::string quoted = refusal(R"({"prompt":"q","answers":["a","bbb","cc"],"g":[1,"9",3]})");
  EXPECT_NE(quoted.find("lists.jsonl:1: \"g\": expected a number, found the text \"9\""), std::string::npos) << quoted;
  EXPECT_NE(refusal(R"({"prompt":"q","answers":["a","b","c"],"g":[1,true,3]})").find("expected a finite number"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"answers":[{"text":"a","g":1},{"text":"b","g":"2"},{"text":"c","g":3}]})").find("\"2\""),
            std::string::npos);
  EXPECT_NE(refusal(R"({"answers":[{"text":"a","scores":{"g":1}},{"text":"b","scores":{"g":"2"}}]})").find("\"2\""),
            std::string::npos);
  const std::string named = R"({"answers":["a","b","c"],"g":[1,null,3],"p":[1,2,"3"]})";
  EXPECT_EQ(read(named, "g").items[0].responses.size(), 2U) << "null is no score, and nothing reads the other key";
  EXPECT_NE(refusal(named, {"p"}).find("\"p\": expected a number"), std::string::npos);
}

TEST_F(Lists, AreThePromptsOfFormatsWithARowForEachResponse) {
  const auto rated = [](const char* prompt, const char* response, int score) {
    return nlohmann::json{{"prompt", prompt}, {"response", response}, {"helpfulness", score}, {"verbosity", 4 - score}}.dump() +
           "\n";
  };
  const Data data = read(rated("q", "a", 1) + rated("q", "b", 3) + rated("alone", "a", 2) + rated("r", "a", 2) +
                             rated("r", "b", 0) + rated("r", "c", 4),
                         "helpfulness");
  ASSERT_EQ(data.items.size(), 2U);
  EXPECT_EQ(data.items[1].responses, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(data.items[1].scores.at("helpfulness"), (std::vector<double>{2, 0, 4}));
  EXPECT_EQ(data.items[1].scores.at("verbosity"), (std::vector<double>{2, 4, 0}));
  EXPECT_EQ(data.items[1].line, 4);
  EXPECT_EQ(data.items[1].number, 1);
  EXPECT_EQ(data.files[0].items, 2);
  EXPECT_EQ(data.files[0].left_out, 1) << "a single response";
  const std::string judged = R"({"prompt":"q","completion":"a","label":true})"
                             "\n"
                             R"({"prompt":"q","completion":"b","label":false})";
  EXPECT_EQ(read(judged, "overall").items[0].scores.at("overall"), (std::vector<double>{1, 0}));
  const std::string bad =
      test::message_of<DataError>([&] { (void)read(rated("q", "a", 1) + "{\"prompt\":\"q\"}\n", "helpfulness"); });
  EXPECT_NE(bad.find("lists.jsonl:2: expected a row of the format helpsteer"), std::string::npos) << bad;
}

TEST_F(Lists, SayWhatIsLeftOutAndDrawNoBandForOnePrompt) {
  const Data data = read(R"({"answers":["a","b","c"],"gold_scores":[1,null,2]})"
                         "\n"
                         R"({"answers":["a"],"gold_scores":[1]})",
                         "gold_scores");
  const std::vector<ModelScores> models = {{.name = "M", .items = {{.scores = {1, 2}}}}};
  const nlohmann::json result = bon_figures({data, models, {}}, "gold_scores");
  EXPECT_EQ(result["files"][0]["left_out"], 1);
  EXPECT_EQ(result["files"][0]["responses_left_out"], 1);
  EXPECT_TRUE(result["curves"]["M"]["gold"][0]["low"].is_null());
  const std::string text = bon_text(result);
  EXPECT_NE(text.find("Left out: 0 lists of another split or none, 1 list with too few responses that have a gold score (2, or "
                      "--n-max), and 1 "
                      "response without one."),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("1 list, gold score"), std::string::npos);
  EXPECT_NE(text.find("one prompt has no bands"), std::string::npos);
  EXPECT_NE(bon_plot(result).find("</svg>"), std::string::npos);
}

TEST_F(Lists, OfTheTestSplitAreTakenIfRowsNameIt) {
  const std::string text = R"({"split":"train","answers":["a","b"]})"
                           "\n"
                           R"({"split":"test","answers":["c","d"],"gold_scores":[1,2]})"
                           "\n"
                           R"({"answers":["e","f"],"gold_scores":[1,2]})";
  const Data data = read(text, "gold_scores");
  ASSERT_EQ(data.items.size(), 1U);
  EXPECT_EQ(data.items[0].responses.front(), "c");
  EXPECT_EQ(data.files[0].other_split, 2);
  EXPECT_NE(test::message_of<DataError>([&] {
              read_lists({directory_ / "lists.jsonl"}, "gold_scores", 0, "train");
            }).find("lists.jsonl:1: no response has a number \"gold_scores\""),
            std::string::npos);
}

TEST_F(Lists, ThatRepeatAnEarlierOneAreTold) {
  const auto said = [&](const std::string& text) {
    const test::CapturedLog log;
    read(text, "gold_scores");
    return log.text();
  };
  const std::string one = R"({"question":"q","answers":["a","b"],"gold_scores":[1,2]})",
                    without_prompt = R"({"answers":["a","b"],"gold_scores":[1,2]})";
  const std::string others = R"({"question":"r","answers":["a","b"],"gold_scores":[1,2]})"
                             "\n"
                             R"({"question":"q","answers":["a","b"],"gold_scores":[2,1]})"
                             "\n"
                             R"({"question":"q","answers":["a","c"],"gold_scores":[1,2]})"
                             "\n";
  EXPECT_NE(said(one + "\n" + others + one)
                .find("[bon] lists with the prompt, responses and gold scores of an earlier one count "
                      "again: 1 of 5, the first at " +
                      (directory_ / "lists.jsonl:5").string() + ", which repeats " + (directory_ / "lists.jsonl:1").string()),
            std::string::npos);
  EXPECT_NE(said(without_prompt + "\n" + without_prompt).find("count again: 1 of 2"), std::string::npos);
  EXPECT_EQ(said(one + "\n" + without_prompt + "\n" + others).find("count again"), std::string::npos);
}

TEST_F(Lists, WithAnEmptyAnswerAreRefused) {
  for (const char* row : {R"({"prompt":"q","answers":["b",""],"g":[1,2]})", R"({"answers":["b"," \n"],"g":[1,2]})",
                          R"({"completions":[{"text":"b","g":1},{"text":"","g":2}]})"}) {
    const std::string said = test::message_of<DataError>([&] { (void)read(row, "g"); });
    EXPECT_NE(said.find("lists.jsonl:1: "), std::string::npos) << said;
    EXPECT_NE(said.find("expected a text in response 1, found an empty one"), std::string::npos) << said;
  }
}

TEST_F(Lists, KeepEqualTextsApart) {
  const Data data = read(kAnswers, "gold_scores");
  ASSERT_EQ(data.items.size(), 1U);
  EXPECT_EQ(data.items[0].responses.size(), 3U);
  EXPECT_EQ(data.items[0].scores.at("proxy_scores"), (std::vector<double>{0.1, 0.3, 0.2}));
}

TEST_F(Lists, LeaveOutResponsesWithoutGoldAndShortLists) {
  const Data data = read(kNative, "overall");
  EXPECT_EQ(data.items[0].responses, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(data.items[0].scores.at("t"), (std::vector<double>{4, 3}));
  const std::string refusal = test::message_of<DataError>([&] { (void)read(kNative, "overall", 3); });
  EXPECT_NE(refusal.find("no list has 3 or more responses"), std::string::npos) << refusal;
}

TEST_F(Lists, TakeScoresOfEveryResponseOfTheFileWhereSomeHaveNoGold) {
  const Data data = read(R"({"answers":["a","b","c"],"gold_scores":[1,null,2]})", "gold_scores");
  const std::string given = write("s.jsonl", R"({"scores":[5,6,7]})");
  const auto models = score_all({parse_model("m=scores:" + given)}, data, {}, [](auto&&...) {});
  EXPECT_EQ(models[0].items[0].scores, (std::vector<double>{5, 7}));
}

TEST_F(Lists, SayWhyNEndsBeforeTheLongestList) {
  const Data data = read(R"({"answers":["a","b","c"],"gold_scores":[1,3,2]})"
                         "\n"
                         R"({"answers":["a","b"],"gold_scores":[1,2]})",
                         "gold_scores");
  const std::vector<ModelScores> models = {{.name = "M", .items = {{.scores = {1, 2, 3}}, {.scores = {1, 2}}}}};
  EXPECT_NE(bon_text(bon_figures({data, models, {}}, "gold_scores"))
                .find("n ends at 2, the size of the shortest list; the longest has 3"),
            std::string::npos);
  EXPECT_EQ(bon_text(bon_figures({data, models, {}}, "gold_scores", 2)).find("n ends at"), std::string::npos);
}

TEST_F(Lists, SayWhatSpeaksAgainstAModel) {
  const Data data = read(R"({"answers":["a","b","c"],"gold_scores":[1,3,2]})", "gold_scores");
  const std::vector<ModelScores> models = {
      {.name = "M", .items = {{.scores = {1, 2, 3}}}, .doubt = "its template is another one"},
      {.name = "N", .items = {{.scores = {1, 2, 3}}}}};
  const nlohmann::json result = bon_figures({data, models, {}}, "gold_scores");
  EXPECT_EQ(result["models"][0]["doubt"], "its template is another one");
  EXPECT_FALSE(result["models"][1].contains("doubt"));
  const std::string text = bon_text(result);
  EXPECT_NE(text.find("\n- M: its template is another one.\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("- N: its"), std::string::npos) << text;
}

TEST_F(Lists, SayThatCategoriesOfWidelySpreadGoldMakeTheGains) {
  const std::vector<ModelScores> models = {{.name = "M", .items = {{.scores = {1, 2, 3}}, {.scores = {3, 2, 1}}}}};
  const auto result = [&](const std::string& of_talk) {
    const Data data = read(R"({"category":"menus","answers":["a","b","c"],"gold_scores":[10,30,20]})"
                           "\n"
                           R"({"category":"talk","answers":["a","b","c"],"gold_scores":)" +
                               of_talk + "}",
                           "gold_scores");
    return bon_figures({data, models, {}}, "gold_scores");
  };
  const nlohmann::json differing = result("[1,3,2]"), alike = result("[15,45,30]");
  EXPECT_NEAR(differing["gold_spreads"]["menus"].get<double>(), 10 * std::sqrt(2.0 / 3), 1e-12);
  EXPECT_NEAR(differing["gold_spreads"]["talk"].get<double>(), std::sqrt(2.0 / 3), 1e-12);
  EXPECT_NE(bon_text(differing).find("spread differently: menus 8.16, talk 0.816."), std::string::npos) << bon_text(differing);
  EXPECT_EQ(bon_text(alike).find("spread differently"), std::string::npos);
  EXPECT_EQ(result("[5,5,5]")["gold_spreads"].size(), 1U) << "equal scores have no spread";
  EXPECT_EQ(bon_text(differing).find("-0.000"), std::string::npos) << "one response gains nothing";
}

TEST_F(Lists, NameWhatARowHasInsteadOfGold) {
  const std::string refusal = test::message_of<DataError>([&] { (void)read(kAnswers, "overall"); });
  EXPECT_NE(refusal.find("lists.jsonl:1"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("gold_scores, proxy_scores"), std::string::npos) << refusal;
  EXPECT_NE(test::message_of<DataError>([&] {
              (void)read(R"({"prompt":"p","texts":["a"]})", "g");
            }).find("answers, responses or completions"),
            std::string::npos);
}

TEST_F(Lists, CurvesFollowTheModelAndTheGold) {
  const Data data =
      read(std::string(kAnswers) + "\n" +
               R"({"question":"r","answers":["aa","b","c","dddd"],"gold_scores":[4,3,2,1],"proxy_scores":[4,3,2,1]})",
           "gold_scores");
  const std::vector<ModelScores> models =
      score_all({parse_model("P=field:proxy_scores"), parse_model("length")}, data, {}, [](auto&&...) {});
  const nlohmann::json result = bon_figures({data, models, {}}, "gold_scores");
  EXPECT_EQ(result["n"], nlohmann::json({1, 2, 3})) << "up to the shorter list";
  EXPECT_NEAR(result["curves"]["P"]["gold"][0]["value"].get<double>(), (2 + 2.5) / 2, 1e-12) << "one at random";
  EXPECT_NEAR(result["curves"]["P"]["gold"][2]["value"].get<double>(), (2 + 3.75) / 2, 1e-12);
  EXPECT_NEAR(result["curves"]["gold"]["gold"][2]["value"].get<double>(), (3 + 3.75) / 2, 1e-12)
      << "the most that can be reached";
  EXPECT_NEAR(result["curves"]["P"]["proxy"][0]["value"].get<double>(), (0.2 + 2.5) / 2, 1e-12) << "the model's own scale";
  EXPECT_NEAR(result["curves"]["P"]["proxy"][2]["value"].get<double>(), (0.3 + 3.75) / 2, 1e-12);
  for (const char* figure : {"gold", "proxy", "gold_gain", "proxy_gain", "picks_the_longest"}) {
    EXPECT_EQ(result["curves"]["P"][figure].size(), 3U) << figure;
    EXPECT_EQ(result["prompts"][1]["models"]["P"][figure].size(), 3U) << figure;
  }
  EXPECT_NEAR(result["curves"]["length"]["picks_the_longest"][2]["value"].get<double>(), 1, 1e-9);
  EXPECT_NEAR(result["curves"]["P"]["gold_gain"][0]["value"].get<double>(), 0, 1e-12);
  EXPECT_EQ(result["prompts"].size(), 2U);
  EXPECT_NE(bon_text(result).find("| length "), std::string::npos);
  EXPECT_NE(bon_plot(result).find("</svg>"), std::string::npos);
  EXPECT_EQ(bon_figures({data, models, {}}, "gold_scores", 2)["n"], nlohmann::json({1, 2}));
}

}  // namespace
}  // namespace dmoerm::eval
