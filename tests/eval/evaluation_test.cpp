#include "eval/evaluation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/plots.h"
#include "eval/read_data.h"
#include "eval/report_text.h"
#include "eval/scorers.h"
#include "support/captured_log.h"
#include "support/scratch.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

class Evaluation : public test::Scratch {
 protected:
  Data read(const std::string& text, const DataOptions& options = {}) { return read_data({write("data.jsonl", text)}, options); }
  json figures(const Data& data, const std::vector<std::string>& models, const EvalOptions& options = {.resamples = 200}) {
    std::vector<ModelSpec> specs;
    for (const std::string& m : models) specs.push_back(parse_model(m));
    scores_ = score_all(specs, data, {}, [](auto&&...) {});
    return evaluate({data, scores_, options});
  }
  std::vector<ModelScores> scores_;
};

json group(const std::string& prompt, const std::string& category, const std::vector<double>& overall,
           const std::string& split = "test") {
  json row = {{"id", prompt},   {"prompt", prompt},           {"category", category},
              {"split", split}, {"responses", json::array()}, {"document", prompt.substr(0, 1)}};
  for (std::size_t i = 0; i < overall.size(); ++i)
    row["responses"].push_back(
        {{"text", std::string(i + 1, 'x') + " " + prompt}, {"overall", overall[i]}, {"scores", {{"tone", -overall[i]}}}});
  return row;
}

std::string some_groups() {
  return group("a1", "chat", {1, 2, 3}).dump() + "\n" + group("a2", "chat", {3, 2, 1}).dump() + "\n" +
         group("b1", "math", {1, 2}).dump() + "\n" + group("c1", "math", {1, 1, 2}).dump() + "\n" +
         group("t1", "math", {2, 1}, "train").dump() + "\n";
}

TEST_F(Evaluation, TakesTheTestSplitAndCountsPairs) {
  const Data data = read(some_groups());
  EXPECT_EQ(data.split, "test");
  EXPECT_EQ(data.items.size(), 4U);
  EXPECT_EQ(read(some_groups(), {.split = "train"}).items.size(), 1U);
  EXPECT_EQ(read(some_groups(), {.split = "all"}).items.size(), 5U);
  const json result = figures(data, {"length", "tone=field:tone"});
  const json& chat = result["accuracy"]["chat"]["overall"];
  EXPECT_EQ(chat["pairs"], 6);
  EXPECT_NEAR(chat["models"]["length"]["pooled"]["value"].get<double>(), 0.5, 1e-12) << "length rises: right in a1, wrong in a2";
  EXPECT_NEAR(result["accuracy"]["math"]["overall"]["models"]["length"]["pooled"]["value"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(result["accuracy"]["all"]["overall"]["models"]["length"]["pooled"]["value"].get<double>(), 6.0 / 9, 1e-12);
  EXPECT_NEAR(result["accuracy"]["all"]["overall"]["models"]["length"]["by_prompt"]["value"].get<double>(), 0.75, 1e-12);
  EXPECT_NEAR(result["macro"]["length"]["value"].get<double>(), 0.75, 1e-12);
  EXPECT_NEAR(result["accuracy"]["math"]["tone"]["models"]["tone"]["pooled"]["value"].get<double>(), 1, 1e-12);
  EXPECT_FALSE(result["accuracy"]["all"].contains("tone")) << "a point belongs to its category";
  EXPECT_EQ(result["ties"]["math"]["pairs"], 1) << "two equal overall scores";
}

TEST_F(Evaluation, EqualResponsesHaveTheMeanOfTheirScoresAndAreTold) {
  json row = group("a", "chat", {1, 9, 4});
  row["responses"][1]["text"] = row["responses"][0]["text"];
  const test::CapturedLog log;
  const Data data = read(group("b", "chat", {1, 2}).dump() + "\n" + row.dump());
  EXPECT_EQ(data.items.at(1).scores.at("overall"), (std::vector<double>{5, 4}));
  ASSERT_EQ(data.items[1].pairs.at("overall").size(), 1U);
  EXPECT_EQ(data.items[1].pairs.at("overall")[0].winner, 0);
  EXPECT_TRUE(log.has("merged into it with the mean of their scores: 1, the first at " + (directory_ / "data.jsonl:2").string()))
      << log.text();
}

TEST_F(Evaluation, NamesTheFilesWithoutTheWantedSplit) {
  const std::vector<std::string> files = {
      write("a.jsonl", group("a", "chat", {1, 2}, "train").dump() + "\n" + group("b", "chat", {1, 2}, "").dump()),
      write("b.jsonl", group("c", "chat", {1, 2}, "train").dump())};
  EXPECT_NE(test::message_of<DataError>([&] {
              (void)read_data(files, {});
            }).find(files[0] + ", " + files[1] + ": the rows name splits (train 2, none 1), but none of them \"test\""),
            std::string::npos);
  EXPECT_NE(
      test::message_of<DataError>([&] {
        (void)read_data(files, {.split = "test"});
      }).find(files[0] + ", " + files[1] + ": --split test: none of the 3 groups belongs to it; their splits: train 2, none 1"),
      std::string::npos);
}

TEST_F(Evaluation, IntervalsFollowFromTheGroupsOfTheResult) {
  std::string text;
  for (int i = 0; i < 60; ++i)
    text +=
        group("p" + std::to_string(i), "chat", i % 3 == 0 ? std::vector<double>{2, 1} : std::vector<double>{1, 2}).dump() + "\n";
  const json result = figures(read(text), {"length"}, {.resamples = 2000});
  double right = 0, pairs = 0;
  for (const json& g : result["groups"]) {
    right += g["labels"]["overall"]["right"]["length"].get<double>();
    pairs += g["labels"]["overall"]["pairs"].get<double>();
  }
  const json& interval = result["accuracy"]["chat"]["overall"]["models"]["length"]["pooled"];
  EXPECT_NEAR(interval["value"].get<double>(), right / pairs, 1e-12);
  const double half = 1.96 * std::sqrt(2.0 / 9 / 60);  // sixty independent trials at two thirds
  EXPECT_NEAR(interval["low"].get<double>(), 2.0 / 3 - half, 0.02);
  EXPECT_NEAR(interval["high"].get<double>(), 2.0 / 3 + half, 0.02);
}

TEST_F(Evaluation, DrawsTheClustersThatAKeyNames) {
  const Data data = read(some_groups(), {.cluster = "document"});
  const json result = figures(data, {"length"});
  EXPECT_EQ(result["accuracy"]["chat"]["overall"]["clusters"], 1) << "a1 and a2 are of one document";
  EXPECT_EQ(result["accuracy"]["chat"]["overall"]["prompts"], 2);
  EXPECT_NE(test::message_of<DataError>([&] { (void)read(some_groups(), {.cluster = "doc"}); }).find("\"doc\""),
            std::string::npos);
}

TEST_F(Evaluation, DocumentsThatRowsOfOnePromptNameAreOneCluster) {
  std::string text;
  const auto prompt = [&](const std::string& name, const std::vector<int>& documents) {
    for (std::size_t i = 0; i < documents.size(); ++i)
      text +=
          json{{"prompt", name}, {"response", std::string(i + 1, 'x')}, {"helpfulness", i}, {"document", documents[i]}}.dump() +
          "\n";
  };
  prompt("a", {1, 1});
  prompt("b", {3, 2});
  prompt("c", {2, 2});
  prompt("d", {4, 1, 4});
  prompt("e", {5, 5});
  const Data data = read(text, {.cluster = "document"});
  std::vector<std::string> clusters;
  for (const Item& item : data.items) clusters.push_back(item.cluster);
  EXPECT_EQ(clusters, (std::vector<std::string>{"1", "3", "3", "1", "5"}));
  EXPECT_EQ(figures(data, {"length"})["accuracy"]["all"]["overall"]["clusters"], 3);
}

TEST_F(Evaluation, DocumentsThatRowsOfOneConversationNameAreOneCluster) {
  const auto row = [](const json& prompt, int document, const std::string& more) {
    const json responses = {{{"text", "good " + more}, {"overall", 2}}, {{"text", "bad"}, {"overall", 1}}};
    return json{{"prompt", prompt}, {"responses", responses}, {"document", document}}.dump() + "\n";
  };
  const json later = {
      {{"role", "user"}, {"content", "a"}}, {{"role", "assistant"}, {"content", "b"}}, {{"role", "user"}, {"content", "c"}}};
  const std::string one = write("one.jsonl", row("a", 1, "1") + row("x", 2, "2") + row("y", 3, "3")),
                    other = write("other.jsonl", row("x", 4, "5") + row(later, 5, "6") + row("z", 5, "7") + row("w", 6, "8"));
  const Data data = read_data({one, other}, {.cluster = "document"});
  std::vector<std::string> clusters;
  for (const Item& item : data.items) clusters.push_back(item.cluster);
  EXPECT_EQ(clusters, (std::vector<std::string>{"1", "2", "3", "2", "1", "1", "6"}))
      << "x stands in two files, and the second row of the other file is a later turn of a";
}

TEST_F(Evaluation, ComparesModelsPairedAndAgainstTheMargin) {
  const json result = figures(read(some_groups()), {"length", "again=length", "tone=field:tone"});
  int seen = 0;
  for (const json& d : result["differences"]) {
    if (d["category"] != "all" || d["mean"] != "pooled") continue;
    ++seen;
    if (d["b"] == "again") {
      EXPECT_EQ(d["value"], 0);
      EXPECT_EQ(d["p"], 1.0);
      EXPECT_FALSE(d["equivalence"]["level"].get<bool>()) << "four prompts cannot show that";
      EXPECT_EQ(d["interval"], "bounds");
    } else {
      EXPECT_EQ(d["mcnemar"]["a_better"], 3);
      EXPECT_EQ(d["mcnemar"]["b_better"], 0);
      EXPECT_FALSE(d["equivalence"]["level"].get<bool>());
      EXPECT_GE(d["p_holm"], d["p"]);
    }
  }
  EXPECT_EQ(seen, 3);
}

TEST_F(Evaluation, TheSameModelIsLevelWithItselfOnManyPrompts) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += group("p" + std::to_string(i), "chat", {1, 2}).dump() + "\n";
  const json d = figures(read(text), {"length", "again=length"}, {.resamples = 100})["differences"][0];
  EXPECT_TRUE(d["equivalence"]["level"].get<bool>());
  EXPECT_GT(d["high"], 0);
}

TEST_F(Evaluation, CategoriesOfOnePromptShowNoDifference) {
  const json result = figures(read(group("a1", "chat", {1, 2}).dump() + "\n" + group("b1", "math", {1, 2}).dump() + "\n"),
                              {"length", "tone=field:tone"});
  EXPECT_EQ(result["differences"].size(), 4U);
  for (const json& d : result["differences"]) {
    EXPECT_EQ(d["value"], 1);
    EXPECT_LT(d["low"], 0) << d.dump();
    EXPECT_GT(d["p"], 0.4) << d.dump();
    EXPECT_FALSE(d["equivalence"]["level"].get<bool>());
  }
}

TEST_F(Evaluation, TheMeanOfCategoriesDrawsADocumentOfSeveralAsAWhole) {
  std::string text;
  for (int i = 0; i < 4; ++i) {
    for (const char* category : {"chat", "math", "code"}) {
      json row = group(std::to_string(i) + category, category, {1, 2});
      row["document"] = i;
      text += row.dump() + "\n";
    }
  }
  const auto macro = [&](const std::string& cluster) {
    const json result = figures(read(text, {.cluster = cluster}), {"length", "tone=field:tone"});
    const auto found = std::ranges::find_if(result["differences"], [](const json& d) { return d["mean"] == "macro"; });
    return std::pair(result["macro"]["length"]["low"].get<double>(), found->at("p").get<double>());
  };
  EXPECT_NEAR(macro("document").first, wilson(1, 4).low, 1e-12) << "four documents, of three categories each";
  EXPECT_GE(macro("document").second, 0.125) << "four signs cannot show more";
  EXPECT_NEAR(macro("").first, wilson(1, 12).low, 1e-12);
  EXPECT_LT(macro("").second, 0.05);
}

TEST_F(Evaluation, TheMeanOfCategoriesDoesNotKnowThoseOfOnePrompt) {
  std::string text, wrong, right;
  const auto add = [&](const std::string& id, const std::string& category, bool first, bool second) {
    text += json{{"id", id}, {"category", category}, {"prompt", id}, {"chosen", "good"}, {"rejected", "bad"}}.dump() + "\n";
    right += json{{"id", id}, {"scores", first ? json{1, 0} : json{0, 1}}}.dump() + "\n";
    wrong += json{{"id", id}, {"scores", second ? json{1, 0} : json{0, 1}}}.dump() + "\n";
  };
  for (int k = 0; k < 10; ++k) add("r" + std::to_string(k), "rare" + std::to_string(k), k < 7, k >= 7);
  for (int i = 0; i < 100; ++i) add("b" + std::to_string(i), "big", i >= 5, i >= 6 || i < 1);
  const json result = figures(read(text), {"A=scores:" + write("a.jsonl", right), "B=scores:" + write("b.jsonl", wrong)});
  const json& macro = result["macro"]["A"];
  EXPECT_NEAR(macro["value"].get<double>(), 7.95 / 11, 1e-12);
  EXPECT_EQ(macro["interval"], "bounds");
  EXPECT_LT(macro["low"], 0.5) << "ten prompts and one more";
  const auto found = std::ranges::find_if(result["differences"], [](const json& d) { return d["mean"] == "macro"; });
  EXPECT_EQ(found->at("interval"), "bounds");
  EXPECT_LT(found->at("low"), 0);
  EXPECT_GT(found->at("p"), 0.2) << "seven single prompts against three";
  EXPECT_FALSE(result["accuracy"]["all"]["overall"]["models"]["A"]["pooled"].contains("interval"));
  const std::string report = report_text(result);
  EXPECT_NE(report.find("Bounds: resamples say nothing of a category of one cluster"), std::string::npos) << report;
}

TEST_F(Evaluation, TheBestOfTheListIsAmongResponsesWithALabel) {
  json row = {{"id", "x"}, {"prompt", "p"}, {"responses", json::array()}};
  row["responses"].push_back({{"text", "a"}, {"overall", 9}});
  row["responses"].push_back({{"text", "b"}, {"overall", 5}});
  row["responses"].push_back(json::object({{"text", "c"}}));
  const Data data = read(row.dump() + "\n");
  const auto best = [&](const std::vector<double>& scores) {
    const std::string file = write("s.jsonl", json{{"id", "x"}, {"scores", scores}}.dump() + "\n");
    return figures(data, {"m=scores:" + file})["best_of_list"].front()["models"]["m"]["value"].get<double>();
  };
  EXPECT_EQ(best({2, 1, 3}), 1) << "the data do not say whether the third is better";
  EXPECT_EQ(best({1, 2, 3}), 0);
  EXPECT_EQ(best({1, 1, 3}), 0.5);
}

TEST_F(Evaluation, MeasuresLengthApart) {
  const json style = figures(read(some_groups()), {"length", "tone=field:tone"})["style"]["all"];
  EXPECT_NEAR(style["longer_is_better"].get<double>(), 6.0 / 9, 1e-12);
  const json& length = style["models"]["length"];
  EXPECT_NEAR(length["prefers_the_longer"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(length["where_the_shorter_is_better"]["value"].get<double>(), 0, 1e-12);
  EXPECT_NEAR(length["correlation"]["length_within"].get<double>(), 1, 1e-12);
  EXPECT_TRUE(length["correlation"]["markdown"].is_null()) << "no text has a mark";
}

TEST_F(Evaluation, ScoresThatAreAllEqualAreHalfRight) {
  std::string rows;
  for (const char* id : {"a1", "a2", "b1", "c1", "t1"})
    rows += json({{"id", id},
                  {"scores",
                   std::string(id) == "a1" || std::string(id) == "a2" || std::string(id) == "c1" ? json{1, 1, 1} : json{1, 1}}})
                .dump() +
            "\n";
  const json result = figures(read(some_groups()), {"flat=scores:" + write("flat.jsonl", rows), "length"});
  EXPECT_EQ(result["accuracy"]["all"]["overall"]["models"]["flat"]["pooled"]["value"], 0.5);
  EXPECT_TRUE(result["style"]["all"]["models"]["flat"]["correlation"]["length"].is_null());
  EXPECT_EQ(result["calibration"]["all"]["flat"]["temperature"], 1.0);
  EXPECT_NE(report_text(result).find("| flat"), std::string::npos);
  EXPECT_EQ(plots_of(result).size(), 3U);
}

TEST_F(Evaluation, GivenScoresBelongToGroupsByIdOrOrder) {
  const std::string pairs = R"({"id":"x","prompt":"p","chosen":"good","rejected":"bad"})"
                            "\n"
                            R"({"id":"y","prompt":"q","chosen":"good","rejected":"bad"})"
                            "\n";
  const Data data = read(pairs);
  const auto by_id = figures(data, {"m=scores:" + write("s.jsonl", R"({"id":"y","scores":[0,1]})"
                                                                   "\n"
                                                                   R"({"id":"x","scores":[1,0]})")});
  EXPECT_EQ(by_id["groups"][0]["labels"]["overall"]["right"]["m"], 1.0);
  EXPECT_EQ(by_id["groups"][1]["labels"]["overall"]["right"]["m"], 0.0);
  const auto refusal = [&](const std::string& text) {
    return test::message_of<DataError>([&] { (void)figures(data, {"m=scores:" + write("s.jsonl", text)}); });
  };
  EXPECT_NE(refusal(R"({"id":"x","scores":[1,0]})").find("no line has the id \"y\""), std::string::npos);
  EXPECT_NE(refusal(R"({"scores":[1,0]})").find("1 lines without ids for 2 groups"), std::string::npos);
  EXPECT_NE(refusal(R"({"id":"x","scores":[1]})"
                    "\n"
                    R"({"id":"y","scores":[1,0]})")
                .find("expected 2 scores"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"id":"x","error":"bad"})").find("found the keys"), std::string::npos);
}

TEST_F(Evaluation, TokensOfGivenScoresAreNotKnown) {
  const Data data = read(group("a", "chat", {1, 2}).dump() + "\n");
  const json result =
      figures(data, {"m=scores:" + write("s.jsonl", R"({"scores":[1,0]})"), "tone=field:tone", "length", "e=mean(m,length)"});
  for (const std::size_t model : {0U, 1U, 3U}) {
    EXPECT_TRUE(result["models"][model]["tokens"].is_null()) << result["models"][model];
    EXPECT_TRUE(result["models"][model]["tokens_per_1000_pairs"].is_null());
  }
  EXPECT_EQ(result["models"][2]["tokens"], 0) << "a length needs none";
  EXPECT_NE(report_text(result).find("- (scores say nothing of tokens)"), std::string::npos) << report_text(result);
}

TEST_F(Evaluation, GivenScoresThatNoGroupWouldReadAreTold) {
  const Data data = read(some_groups());  // four of five are evaluated
  const auto line = [](const std::string& id, const json& scores) {
    return json({{"id", id}, {"scores", scores}}).dump() + "\n";
  };
  const std::string all =
      line("a1", {1, 2, 3}) + line("a2", {1, 2, 3}) + line("b1", {1, 2}) + line("c1", {1, 2, 3}) + line("t1", {1, 2});
  const auto said = [&](const std::string& text) {
    const test::CapturedLog log;
    (void)figures(data, {"m=scores:" + write("s.jsonl", text)});
    return log.text();
  };
  EXPECT_EQ(said(all).find("that no evaluated group has"), std::string::npos) << "t1 is of another split";
  EXPECT_NE(said(line("zz", {1, 2}) + all)
                .find("s.jsonl: 2 of 6 lines have an id that no evaluated group has, the first at line 1: \"zz\""),
            std::string::npos);
  const std::string refused =
      test::message_of<DataError>([&] { (void)figures(data, {"m=scores:" + write("s.jsonl", all + "{\"scores\":[1,2]}\n")}); });
  EXPECT_NE(refused.find("s.jsonl:6: the line has no \"id\", and line 1 has one"), std::string::npos) << refused;
}

TEST_F(Evaluation, GivenScoresKnowTheResponsesThatWereMerged) {
  const Data data =
      read(R"({"id":"x","prompt":"p","responses":[{"text":"a","overall":1},{"text":"a","overall":1},{"text":"b","overall":2}]})");
  ASSERT_EQ(data.items[0].responses.size(), 2U);
  const json result = figures(data, {"m=scores:" + write("s.jsonl", R"({"id":"x","scores":[5,5,7]})")});
  EXPECT_EQ(result["groups"][0]["scores"]["m"], json({5.0, 7.0}));
  const std::string shifted =
      test::message_of<DataError>([&] { (void)figures(data, {"m=scores:" + write("s.jsonl", R"({"id":"x","scores":[5,7]})")}); });
  EXPECT_NE(shifted.find("expected 3 scores, one for each response of x"), std::string::npos) << shifted;
}

TEST_F(Evaluation, EnsemblesDoNotSeeOffsetsBetweenPrompts) {
  const Data data = read(group("a", "chat", {1, 2, 3}).dump() + "\n" + group("b", "chat", {3, 2, 1}).dump() + "\n");
  // Each member orders one prompt with small gaps and the other with large ones; the second file adds an offset to each prompt.
  const std::string one = write("one.jsonl", R"({"scores":[0,1,5]})"
                                             "\n"
                                             R"({"scores":[2,0,1]})"),
                    other = write("other.jsonl", R"({"scores":[2,4,3]})"
                                                 "\n"
                                                 R"({"scores":[1,2,0]})"),
                    moved = write("moved.jsonl", R"({"scores":[102,104,103]})"
                                                 "\n"
                                                 R"({"scores":[-99,-98,-100]})");
  const auto combined = [&](const std::string& second) {
    (void)figures(data, {"a=scores:" + one, "b=scores:" + second, "low=wco(a,b)", "u=uwo(a,b)"});
    return std::pair(scores_[2].items, scores_[3].items);
  };
  const auto plain = combined(other), shifted = combined(moved);
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t r = 0; r < 3; ++r) {
      EXPECT_NEAR(plain.first[i].scores[r], shifted.first[i].scores[r], 1e-9);
      EXPECT_NEAR(plain.second[i].scores[r], shifted.second[i].scores[r], 1e-9);
    }
  }
  EXPECT_NE(test::message_of<ConfigError>([&] {
              (void)figures(data, {"length", "tone=field:tone", "m=mean(length, length)"});
            }).find("length is named twice"),
            std::string::npos);
}

TEST_F(Evaluation, ACategoryWithoutAPairSaysWhy) {
  const Data data = read(group("a", "chat", {1, 2}).dump() + "\n" + group("b", "math", {2, 2}).dump() + "\n");
  const json result = figures(data, {"length"});
  EXPECT_FALSE(result["accuracy"].contains("math"));
  EXPECT_EQ(result["without_pairs"]["math"], "the overall labels order no two responses, in 1 prompt");
  const std::string text = report_text(result);
  EXPECT_NE(text.find("| math "), std::string::npos) << text;
  EXPECT_NE(text.find("- math: the overall labels order no two responses"), std::string::npos) << text;
  json earlier = result;  // of a version that did not say so
  earlier.erase("without_pairs"), earlier.erase("pairs_not_compared");
  EXPECT_EQ(report_text(earlier).find("| math "), std::string::npos);
}

TEST_F(Evaluation, EnsemblesCombineStandardisedScores) {
  const Data data = read(some_groups());
  const json result =
      figures(data, {"length", "tone=field:tone", "mean=mean(length, tone)", "low=wco(length,tone)", "u=uwo(length,tone)"});
  EXPECT_EQ(result["models"].size(), 5U);
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    const std::vector<double>&mean = scores_[2].items[i].scores, &low = scores_[3].items[i].scores,
          &u = scores_[4].items[i].scores;
    for (std::size_t r = 0; r < mean.size(); ++r) {
      EXPECT_LE(low[r], mean[r] + 1e-12);
      const double half_gap = mean[r] - low[r];  // of two members: their population variance is its square
      EXPECT_NEAR(u[r], mean[r] - 0.5 * half_gap * half_gap, 1e-9);
    }
  }
  EXPECT_NE(test::message_of<ConfigError>([&] {
              (void)figures(data, {"m=mean(length,tone)", "length"});
            }).find("not among those named before"),
            std::string::npos);
  EXPECT_NE(test::message_of<ConfigError>([&] {
              (void)figures(data, {"length", "m=mean(length)"});
            }).find("at least two"),
            std::string::npos);
}

TEST_F(Evaluation, RefusesWhatCannotBeEvaluated) {
  const auto refusal = [&](const std::string& text, const DataOptions& options = {}) {
    return test::message_of<DataError>([&] { (void)read(text, options); });
  };
  EXPECT_NE(refusal(group("a", "c", {1, 2}, "train").dump()).find("--split"), std::string::npos);
  EXPECT_NE(refusal(some_groups(), {.split = "validation"}).find("none of the 5 groups"), std::string::npos);
  EXPECT_NE(refusal(group("a", "c", {1, 1}).dump()).find("none of the 1 groups has a pair"), std::string::npos);
  EXPECT_NE(refusal(some_groups(), {.score_gap_min = 9}).find("lower --score-gap"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"p\",\"chosen\":\"a\"}").find("known data format"), std::string::npos);
  EXPECT_NE(test::message_of<ConfigError>([] { (void)parse_model("a b=x"); }).find("NAME=WHAT"), std::string::npos);
  const Data data = read(some_groups());
  EXPECT_NE(test::message_of<ConfigError>([&] {
              (void)figures(data, {"length", "length"});
            }).find("two models"),
            std::string::npos);
  EXPECT_NE(test::message_of<DataError>([&] { (void)figures(data, {"m=" + directory_.string()}); }).find("dmoerm.json"),
            std::string::npos);
}

}  // namespace
}  // namespace dmoerm::eval
