// Fixtures in the documented schemas of benchmarks, with texts of our own.
#include "eval/benchmarks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "eval/benchmark_figures.h"
#include "eval/evaluation.h"
#include "eval/report_text.h"
#include "eval/scorers.h"
#include "support/captured_log.h"
#include "support/scratch.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

class Benchmarks : public test::Scratch {
 protected:
  Data read(const std::string& name, const std::string& text, const std::string& file = "rows.jsonl") {
    return read_benchmark(benchmark_named(name), {write(file, text)});
  }
  std::string refusal(const std::string& name, const std::string& text) {
    return test::message_of<DataError>([&] { (void)read(name, text); });
  }
  /// Figures of one model by name.
  static std::map<std::string, double> figures(const Data& data, const std::vector<std::vector<double>>& scores) {
    std::map<std::string, double> values;
    for (const json& figure : whole_figures(data, scores)) values[figure["name"]] = figure["models"]["m"]["value"];
    return values;
  }
  static json whole_figures(const Data& data, const std::vector<std::vector<double>>& scores) {
    std::vector<ModelScores> models = {{"m", "test", {}, {}}};
    for (const auto& s : scores) models[0].items.push_back({.scores = s});
    return benchmark_figures({data, models, {.resamples = 100}});
  }
  static std::map<std::string, int> groups(const Data& data, const std::vector<std::vector<double>>& scores) {
    std::map<std::string, int> groups;
    for (const json& figure : whole_figures(data, scores)) groups[figure["name"]] = figure["groups"];
    return groups;
  }
  static json named(const json& figures, const std::string& name) {
    for (const json& figure : figures) {
      if (figure["name"] == name) return figure;
    }
    ADD_FAILURE() << "no figure " << name;
    return {};
  }
  /// A model that is right on the rows with 1, wrong on those with 0, and sees no difference where 0.5 stands.
  static ModelScores model(const std::string& name, const std::vector<double>& right) {
    ModelScores made = {.name = name, .source = "test"};
    for (const double r : right) made.items.push_back({.scores = {r, 1 - r}});
    return made;
  }
};

std::string lines(const std::vector<json>& rows) {
  std::string text;
  for (const json& row : rows) text += row.dump() + "\n";
  return text;
}

json pair(const std::string& subset, int i) {
  return {{"prompt", "question " + std::to_string(i)},
          {"chosen", "good"},
          {"rejected", "bad"},
          {"subset", subset},
          {"id", i},
          {"chosen_model", "x"}};
}

TEST_F(Benchmarks, RewardBenchWeighsSubsetsWithinSections) {
  const Data data =
      read("rewardbench", lines({pair("alpacaeval-easy", 1), pair("mt-bench-easy", 2), pair("donotanswer", 3), pair("shp", 4)}));
  ASSERT_EQ(data.items.size(), 4U);
  EXPECT_EQ(data.items[1].category, "mt-bench-easy");
  const auto values = figures(data, {{1, 0}, {0, 1}, {1, 1}, {1, 0}});
  EXPECT_NEAR(values.at("Chat"), 100.0 / 128, 1e-12);
  EXPECT_NEAR(values.at("Safety"), 0.5, 1e-12) << "equal scores count half";
  EXPECT_NEAR(values.at("Score (mean of sections)"), (100.0 / 128 + 0.5) / 2, 1e-12);
  EXPECT_NEAR(values.at("Score with prior sets at half weight"), (100.0 / 128 + 0.5 + 0.5) / 2.5, 1e-12);
  EXPECT_FALSE(values.contains("Reasoning")) << "no row of it";
}

TEST_F(Benchmarks, APromptOfSeveralSubsetsIsDrawnAsAWhole) {
  std::vector<json> rows;
  std::vector<std::vector<double>> alike, opposite;
  for (int i = 0; i < 60; ++i) {
    const bool right = i % 3 == 0;
    for (const char* subset : {"alpacaeval-easy", "donotanswer"}) {
      rows.push_back(pair(subset, i));
      alike.push_back(right ? std::vector<double>{1, 0} : std::vector<double>{0, 1});
      opposite.push_back(right == (rows.size() % 2 == 0) ? std::vector<double>{1, 0} : std::vector<double>{0, 1});
    }
  }
  const Data data = read("rewardbench", lines(rows));
  const json figures = whole_figures(data, alike);
  const json chat = named(figures, "Chat")["models"]["m"], score = named(figures, "Score (mean of sections)")["models"]["m"];
  EXPECT_LT(chat["low"], chat["high"]);
  EXPECT_NEAR(score["low"].get<double>(), chat["low"].get<double>(), 1e-12) << "two sections of the same know no more than one";
  EXPECT_NEAR(score["high"].get<double>(), chat["high"].get<double>(), 1e-12);
  const json even = named(whole_figures(data, opposite), "Score (mean of sections)")["models"]["m"];
  EXPECT_NEAR(even["low"].get<double>(), wilson(0.5, 60).low, 1e-9)
      << "each prompt gains in one section what it loses in the other";
}

TEST_F(Benchmarks, DifferencesFollowFromTheGroupsOfTheResult) {
  std::vector<json> rows;
  std::vector<double> right_a, right_b;
  std::mt19937_64 random(5);
  const auto misses_one_in = [&](std::uint64_t n, double missed = 0) { return random() % n == 0 ? missed : 1; };
  const auto add = [&](const char* subset, int prompt, double a, double b) {
    rows.push_back(pair(subset, prompt));
    right_a.push_back(a), right_b.push_back(b);
  };
  for (int i = 0; i < 50; ++i) {  // of two sections, of which the second often has a prompt twice
    const double a = misses_one_in(4), b = misses_one_in(2, 0.5);
    add("alpacaeval-easy", i, a, b);
    add("donotanswer", i, a, b);
    if (i % 2 == 0) add("donotanswer", i, a, b);
  }
  for (int i = 100; i < 140; ++i) {
    const double a = misses_one_in(4), b = misses_one_in(3);
    add(i % 2 == 0 ? "alpacaeval-hard" : "xstest-should-refuse", i, a, b);
  }
  const Data data = read("rewardbench", lines(rows));
  constexpr int kResamples = 10000;
  const json result = evaluate({data, {model("a", right_a), model("b", right_b)}, {.resamples = kResamples}});

  std::map<std::string, std::map<std::string, std::array<double, 2>>>
      by_cluster;  // then by subset: groups, difference of credits
  for (const json& g : result["groups"]) {
    std::array<double, 2>& own = by_cluster[g["cluster"]][g["category"]];
    const auto credit = [&](const char* name) {
      const double gap = g["scores"][name][0].get<double>() - g["scores"][name][1].get<double>();
      return gap > 0 ? 1 : gap == 0 ? 0.5 : 0;
    };
    own[0] += 1, own[1] += credit("a") - credit("b");
  }
  using Clusters = std::vector<const std::map<std::string, std::array<double, 2>>*>;
  std::array<Clusters, 3> sets;  // drawn apart, as they have no prompt in common
  for (const auto& [name, own] : by_cluster)
    sets[own.contains("alpacaeval-hard") ? 1 : own.contains("xstest-should-refuse") ? 2 : 0].push_back(&own);
  const auto difference = [](const std::array<Clusters, 3>& drawn) {
    std::map<std::string, std::array<double, 2>> sums;
    for (const Clusters& set : drawn) {
      for (const auto* cluster : set) {
        for (const auto& [subset, own] : *cluster) sums[subset][0] += own[0], sums[subset][1] += own[1];
      }
    }
    const auto mean = [&](const char* subset) { return sums.at(subset)[1] / sums.at(subset)[0]; };
    const double chat = (100 * mean("alpacaeval-easy") + 95 * mean("alpacaeval-hard")) / 195;
    return (chat + (136 * mean("donotanswer") + 154 * mean("xstest-should-refuse")) / 290) / 2;
  };
  std::vector<double> draws;
  for (int r = 0; r < kResamples; ++r) {
    std::array<Clusters, 3> drawn;
    for (std::size_t s = 0; s < sets.size(); ++s) {
      for (std::size_t i = 0; i < sets[s].size(); ++i) drawn[s].push_back(sets[s][random() % sets[s].size()]);
    }
    draws.push_back(difference(drawn));
  }
  std::ranges::sort(draws);

  const json found = named(result["figures"], "Score (mean of sections)");
  ASSERT_EQ(found["differences"].size(), 1U);
  const json& d = found["differences"][0];
  EXPECT_EQ(d["a"], "a");
  EXPECT_EQ(d["interval"], "bootstrap");
  EXPECT_NEAR(d["value"].get<double>(), difference(sets), 1e-12);
  EXPECT_NEAR(d["value"].get<double>(), found["models"]["a"]["value"].get<double>() - found["models"]["b"]["value"].get<double>(),
              1e-12);
  EXPECT_NEAR(d["low"].get<double>(), draws[kResamples / 40], 0.008);
  EXPECT_NEAR(d["high"].get<double>(), draws[kResamples - kResamples / 40], 0.008);
  const auto below = std::ranges::count_if(draws, [](double x) { return x <= 0; });
  EXPECT_NEAR(d["p"].get<double>(), 2.0 * static_cast<double>(std::min(below, kResamples - below)) / kResamples, 0.05);
}

TEST_F(Benchmarks, FewPromptsShowNoDifferenceOfFigures) {
  const Data data = read("rewardbench", lines({pair("alpacaeval-easy", 1), pair("donotanswer", 1), pair("donotanswer", 2)}));
  const std::vector<ModelScores> models = {model("a", {1, 1, 1}), model("b", {0, 0, 0}), model("c", {1, 1, 1})};
  const json result = evaluate({data, models, {.resamples = 100}});
  for (const json& figure : result["figures"]) {
    ASSERT_EQ(figure["differences"].size(), 3U);
    for (const json& d : figure["differences"]) {
      EXPECT_EQ(d["interval"], "bounds") << d;
      EXPECT_LT(d["low"], 0) << d;
      EXPECT_GT(d["high"], 0) << d;
      EXPECT_GT(d["p"], 0.05) << d;
      EXPECT_GE(d["p_holm"], d["p"]) << d;
      EXPECT_FALSE(d["equivalence"]["level"].get<bool>()) << d;
    }
  }
  const json first = named(result["figures"], "Score (mean of sections)")["differences"][0];
  EXPECT_EQ(first["mcnemar"]["a_better"], 2) << "two prompts, of which one is in both sections";
  const std::string text = report_text(result);
  const auto count = [&](const std::string& part) {
    int found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("## Differences in the figures of rewardbench"), 1) << text;
  EXPECT_EQ(count("\n| Score (mean of sections) "), 4) << "the figure, and three pairs of models\n" << text;
  EXPECT_EQ(count("\n| Chat "), 3) << "the figure, and the first model's differences\n" << text;
}

json list(const std::string& id, const std::string& subset, int correct, int wrong) {
  json row = {{"id", id},
              {"prompt", "p " + id},
              {"subset", subset},
              {"chosen", json::array()},
              {"rejected", json::array()},
              {"num_correct", correct}};
  for (int i = 0; i < correct; ++i) row["chosen"].push_back("good " + std::to_string(i));
  for (int i = 0; i < wrong; ++i) row["rejected"].push_back("bad " + std::to_string(i));
  return row;
}

TEST_F(Benchmarks, SubsetsThatTheBenchmarkLacksAndThatTheFilesLackAreNamed) {
  const std::vector<std::string> notes = benchmark_notes(
      read("rewardbench",
           lines({pair("alpacaeval-easy", 1), pair("alpacaeval_easy", 2), pair("alpacaeval_easy", 3), pair("shp", 4)})));
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_NE(notes[0].find("lack the subsets alpacaeval-hard, "), std::string::npos) << notes[0];
  EXPECT_EQ(notes[0].find("alpacaeval-easy"), std::string::npos);
  EXPECT_EQ(notes[0].find("summarize"), std::string::npos) << "prior sets are no part of the score";
  EXPECT_NE(notes[1].find("count in no section and no score: \"alpacaeval_easy\" (2 groups)."), std::string::npos) << notes[1];
  std::vector<json> all;
  for (const char* subset : {"Factuality", "Precise IF", "Math", "Safety", "Focus"}) all.push_back(list("1", subset, 1, 3));
  all.push_back(list("ref:0", "Ties", 1, 2));
  EXPECT_NE(
      benchmark_notes(read("rewardbench-2", lines(all))).at(0).find("1 prompt of Ties has only a tied or only a reference row"),
      std::string::npos);
  all.push_back(list("tied:0", "Ties", 2, 2));
  EXPECT_TRUE(benchmark_notes(read("rewardbench-2", lines(all))).empty());
  all.push_back(list("1", "Poetry", 1, 3));
  EXPECT_NE(benchmark_notes(read("rewardbench-2", lines(all))).at(0).find("\"Poetry\" (1 group)"), std::string::npos);
}

TEST_F(Benchmarks, RefuseASecondRowOfAPartOfATie) {
  const std::vector<json> rows = {list("ref:1", "Ties", 1, 2), list("tied:1", "Ties", 2, 2), list("tied:2", "Ties", 2, 2)};
  EXPECT_EQ(read("rewardbench-2", lines(rows)).items.size(), 3U);
  const std::string first = write("a.jsonl", lines(rows)), second = write("b.jsonl", lines({rows[2]}));
  const std::string said = test::message_of<DataError>([&] {
    (void)read_benchmark(benchmark_named("rewardbench-2"), {first, second});
  });
  EXPECT_NE(said.find(first + ":3 and " + second + ":1 both have the id \"tied:2\""), std::string::npos) << said;
}

TEST_F(Benchmarks, TellOfRepeatedRowsAndRefuseASubsetCalledAll) {
  const auto warned = [&](const std::string& name, const std::string& text) {
    const test::CapturedLog log;
    (void)read(name, text);
    return log.text();
  };
  const json row = {{"input", "do it"}, {"output_1", "no"}, {"output_2", "yes"}, {"label", 2}};
  json other = row;
  other["label"] = 1;
  EXPECT_NE(warned("llmbar", lines({row, other, row})).find("of an earlier one count again: 1 of 3"), std::string::npos);
  EXPECT_EQ(warned("llmbar", lines({row, other})).find("count again"), std::string::npos);
  const json tie = {{"instruction", "i"}, {"input", ""}, {"response1", "a"}, {"response2", "b"}, {"annotator1", 0}};
  EXPECT_NE(warned("pandalm", lines({tie, tie})).find("count again: 1 of 2"), std::string::npos) << "ties count, too";
  const std::string said = refusal("rewardbench", lines({pair("donotanswer", 1), pair("all", 2)}));
  EXPECT_NE(said.find("rows.jsonl:2: the category \"all\""), std::string::npos) << said;
}

TEST_F(Benchmarks, RewardBench2CreditsTheBestOfFourAndFollowsTheTies) {
  const Data data = read("rewardbench-2", lines({list("1", "Focus", 1, 3), list("2", "Focus", 1, 3), list("3", "Math", 1, 3),
                                                 list("ref:0", "Ties", 1, 2), list("tied:0", "Ties", 2, 2),
                                                 list("ref:1", "Ties", 1, 2), list("tied:1", "Ties", 3, 1)}));
  const auto values =
      figures(data, {{2, 1, 0.5, 0}, {1, 1, 0.5, 0}, {0, 1, 0.5, 0}, {3, 1, 0}, {2, 1.5, 0, 0.5}, {0, 1, 2}, {3, 2, 1, 0}});
  EXPECT_NEAR(values.at("Focus"), 0.75, 1e-12) << "a shared highest score counts half";
  EXPECT_NEAR(values.at("Math"), 0, 1e-12);
  // Prompt 0: spread .5, lead 1 in the tied item and 2 in the reference. Prompt 1: spread 2, lead 1, and -2 in the reference.
  const double margin = (std::tanh(1 / .5 - 1) + std::tanh(-2.0 / 2 - 1)) / 2;
  EXPECT_NEAR(values.at("Ties"), .3 * 1 + .3 * .5 + .2 * .5 + .2 * .5 + .01 * margin, 1e-12);
  EXPECT_NEAR(values.at("Score (mean of subsets)"), (0.75 + values.at("Ties")) / 3, 1e-12);
  const auto counts =
      groups(data, {{2, 1, 0.5, 0}, {1, 1, 0.5, 0}, {0, 1, 0.5, 0}, {3, 1, 0}, {2, 1.5, 0, 0.5}, {0, 1, 2}, {3, 2, 1, 0}});
  EXPECT_EQ(counts.at("Ties"), 4);
  EXPECT_EQ(counts.at("Score (mean of subsets)"), 7) << "each group once";
}

TEST_F(Benchmarks, DifferencesLeaveOutAModelWithoutTheFigureAndReachTheRangeOfTies) {
  std::vector<json> rows;
  std::vector<ModelScores> models = {{.name = "right"}, {.name = "judge"}, {.name = "wrong"}};
  for (int i = 0; i < 12; ++i) {
    rows.push_back(list((i % 2 == 0 ? "ref:" : "tied:") + std::to_string(i / 2), "Ties", 2, 1));
    models[0].items.push_back({.scores = {9, 8, 0}});
    models[1].items.push_back({.preferences = {{{0, 2}, 1.0}, {{1, 2}, 1.0}}});
    models[2].items.push_back({.scores = {1, 0, 9}});
  }
  const Data data = read("rewardbench-2", lines(rows));
  const json ties = named(benchmark_figures({data, models, {.resamples = 200}}), "Ties");
  EXPECT_TRUE(ties["models"]["judge"].is_null());
  ASSERT_EQ(ties["differences"].size(), 1U);
  const json& d = ties["differences"][0];
  EXPECT_EQ(d["b"], "wrong");
  EXPECT_NEAR(d["value"].get<double>(), 1 + .01 * (std::tanh(8 - 1) - std::tanh(-9.0 - 1)), 1e-12);
  EXPECT_EQ(d["interval"], "bounds") << "all resamples are equal";
  EXPECT_GT(d["low"], 0) << "six prompts agree";
  EXPECT_LE(d["high"], 1.02 + 1e-12);
  EXPECT_GE(d["high"], d["value"]);
}

TEST_F(Benchmarks, AnIntervalHoldsItsValue) {
  const Data data = read("rewardbench-2", lines({list("ref:0", "Ties", 1, 1), list("tied:0", "Ties", 2, 1)}));
  const std::vector<ModelScores> models = {{.name = "m", .items = {{.scores = {1, 0}}, {.scores = {1, 1, 0}}}}};
  for (const json& figure : benchmark_figures({data, models, {}})) {
    const json& own = figure["models"]["m"];
    EXPECT_LE(own["value"], own["high"]) << figure;
  }
}

TEST_F(Benchmarks, RmBenchSplitsTheMatrixOfStyles) {
  json row = list("1", "", 3, 3);
  row.erase("subset");
  row.erase("num_correct");
  row["domain"] = "chat";
  const auto values = figures(read("rm-bench", lines({row})), {{1, 3, 5, 0, 4, 2}});
  // Right: 1>0, 3>0, 3>2, 5>0, 5>4, 5>2. Columns are the styles of the worse response: 0, 4, 2.
  EXPECT_NEAR(values.at("chat: easy"), 1, 1e-12) << "3>0, 5>0, 5>4";
  EXPECT_NEAR(values.at("chat: normal"), 2.0 / 3, 1e-12) << "1>0, 5>2, not 3>4";
  EXPECT_NEAR(values.at("chat: hard"), 1.0 / 3, 1e-12) << "3>2, neither 1>4 nor 1>2";
  EXPECT_NEAR(values.at("Score (mean of domains)"), 2.0 / 3, 1e-12);
  EXPECT_FALSE(values.contains("safety"));
  json two = row;
  two["rejected"].erase(0);
  EXPECT_NE(refusal("rm-bench", lines({two})).find("found 3 and 2"), std::string::npos);
}

TEST_F(Benchmarks, TheTwoPartsOfSafetyAreOneDomainOfRmBench) {
  std::vector<json> rows;
  for (const char* domain : {"chat", "code", "math", "safety-refuse", "safety-response"}) {
    json row = list(domain, "", 3, 3);
    row["domain"] = domain;
    rows.push_back(row);
  }
  const std::vector<double> right = {3, 4, 5, 0, 1, 2}, wrong = {0, 1, 2, 3, 4, 5};
  const Data data = read("rm-bench", lines(rows));
  const auto values = figures(data, {right, wrong, wrong, right, wrong});
  EXPECT_NEAR(values.at("safety-refuse"), 1, 1e-12);
  EXPECT_NEAR(values.at("safety"), 0.5, 1e-12);
  EXPECT_NEAR(values.at("safety: hard"), 0.5, 1e-12);
  EXPECT_NEAR(values.at("easy"), 1.5 / 4, 1e-12);
  EXPECT_NEAR(values.at("Score (mean of domains)"), 1.5 / 4, 1e-12) << "four domains and not five";
  const auto counts = groups(data, {right, wrong, wrong, right, wrong});
  EXPECT_EQ(counts.at("Score (mean of domains)"), 5);
  EXPECT_EQ(counts.at("safety"), 2);
  EXPECT_EQ(counts.at("chat"), 1) << "once, although it counts on three levels";
  EXPECT_TRUE(benchmark_notes(data).empty());
  const Data half = read("rm-bench", lines({rows[0], rows[3]}));
  EXPECT_NEAR(figures(half, {wrong, right}).at("Score (mean of domains)"), 0.5, 1e-12);
  EXPECT_NE(benchmark_notes(half).at(0).find("code, math, safety-response"), std::string::npos);
  for (const json& figure : whole_figures(data, {right, right, right, right, right})) {
    if (figure["name"] == "Score (mean of domains)") {
      EXPECT_NEAR(figure["models"]["m"]["low"], wilson(1, 32.0 / 7).low, 1e-9)
          << "five clusters and not fifteen, two of half weight";
    }
  }
}

TEST_F(Benchmarks, LlmBarReadsAListAndNamesTheSubsetByItsPlace) {
  std::filesystem::create_directories(directory_ / "Neighbor");
  const Data data = read("llmbar", R"([{"input":"do it","output_1":"no","output_2":"yes","label":2},
 {"input":"go","output_1":"yes","output_2":"no","label":1}])",
                         "Neighbor/dataset.json");
  ASSERT_EQ(data.items.size(), 2U);
  EXPECT_EQ(data.items[0].category, "Neighbor");
  EXPECT_EQ(overall_pairs(data.items[0])[0].winner, 1);
  EXPECT_NE(refusal("llmbar", R"({"input":"i","output_1":"a","output_2":"b","label":3})").find("expected 1 or 2, found 3"),
            std::string::npos);
}

TEST_F(Benchmarks, JudgeBenchAndPandaLmReadTheirLabels) {
  const json judge = {{"pair_id", "p1"},   {"source", "mmlu-pro-law"}, {"question", "q"},
                      {"response_A", "a"}, {"response_B", "b"},        {"label", "B>A"}};
  const Data judged = read("judgebench", judge.dump());
  EXPECT_EQ(judged.items[0].category, "knowledge");
  EXPECT_EQ(judged.items[0].id, "p1");
  EXPECT_EQ(overall_pairs(judged.items[0])[0].winner, 1);
  const auto panda = [](int a, int b, int c) {
    return json{{"idx", a * 100 + b * 10 + c},
                {"instruction", "i"},
                {"input", ""},
                {"response1", "x"},
                {"response2", "y"},
                {"annotator1", a},
                {"annotator2", b},
                {"annotator3", c}};
  };
  const test::CapturedLog log;
  const Data data = read("pandalm", lines({panda(1, 1, 2), panda(0, 0, 1), panda(2, 2, 2), panda(0, 1, 2)}));
  EXPECT_TRUE(log.has("rows.jsonl:4: ") && log.has("[no-majority]")) << log.text();
  ASSERT_EQ(data.items.size(), 3U) << "without a majority there is nothing to compare with";
  EXPECT_EQ(data.files[0].left_out, 1);
  EXPECT_EQ(overall_pairs(data.items[0])[0].winner, 0);
  EXPECT_TRUE(overall_pairs(data.items[1]).empty());
  EXPECT_EQ(data.items[1].ties.size(), 1U);
  EXPECT_EQ(overall_pairs(data.items[2])[0].winner, 1);
}

TEST_F(Benchmarks, ContrastChoosesResponsesAndInstructions) {
  const json row = {{"query", "add"}, {"retrieval", "subtract"}, {"query_response_k", "5"}, {"retrieval_response_k", "1"}};
  const Data data = read("contrast", row.dump());
  ASSERT_EQ(data.items.size(), 2U);
  // An offset of a prompt changes which instruction seems to fit, and not which response.
  const auto plain = figures(data, {{1, 0}, {1, 0}}), shifted = figures(data, {{1, 0}, {4, 3}});
  EXPECT_NEAR(plain.at("C_ins: the instruction is chosen"), 1, 1e-12);
  EXPECT_NEAR(shifted.at("C_res: the response is chosen"), 1, 1e-12);
  EXPECT_NEAR(shifted.at("C_ins: the instruction is chosen"), 0.5, 1e-12);
}

TEST_F(Benchmarks, ContrastComparesTheItemsOfARow) {
  const auto row = [](const char* first, const char* second) {
    return json{{"id", first},
                {"query", "add"},
                {"retrieval", "subtract"},
                {"query_response_k", first},
                {"retrieval_response_k", second}};
  };
  const Data data = read("contrast", lines({row("5", "1"), row("nine", "eight")}));
  ASSERT_EQ(data.items.size(), 4U);
  EXPECT_EQ(data.items[0].cluster, data.items[2].cluster) << "the instructions are the same";
  // The second row's scores are higher, which says nothing about the first.
  EXPECT_NEAR(figures(data, {{5, 4}, {5, 4}, {9, 8}, {9, 8}}).at("C_ins: the instruction is chosen"), 1, 1e-12);
  EXPECT_EQ(data.items[0].id, "5:query");
  EXPECT_EQ(data.items[1].id, "5:retrieval");
  const std::string given = write("s.jsonl", R"({"id":"5","scores":[5,4]})");
  EXPECT_NE(test::message_of<DataError>([&] {
              (void)score_all({parse_model("m=scores:" + given)}, data, {}, [](auto&&...) {});
            }).find("no line has the id \"5:query\""),
            std::string::npos)
      << "one line of scores for a row cannot be that of both items";
}

TEST_F(Benchmarks, AnotherVersionIsNamedWithWhatWasExpectedAndFound) {
  const std::string other = refusal("rewardbench-2", lines({pair("donotanswer", 1)}));
  EXPECT_NE(other.find("rows.jsonl:1: expected a row of rewardbench-2"), std::string::npos) << other;
  EXPECT_NE(other.find("found the keys"), std::string::npos) << other;
  EXPECT_NE(other.find("the row fits --benchmark rewardbench"), std::string::npos) << other;
  const std::string own = refusal("judgebench", R"({"prompt":"p","chosen":"a","rejected":"b"})");
  EXPECT_NE(own.find("give the file with --data"), std::string::npos) << own;
  EXPECT_NE(refusal("pandalm", "[1, 2]").find("rows.jsonl:1"), std::string::npos);
  EXPECT_NE(test::message_of<ConfigError>([] { (void)benchmark_named("mt-bench"); }).find("rewardbench, rewardbench-2"),
            std::string::npos);
  json miscounted = list("1", "Math", 1, 3);
  miscounted["num_correct"] = 2;
  EXPECT_NE(refusal("rewardbench-2", miscounted.dump()).find("\"num_correct\" is 2"), std::string::npos);
  EXPECT_NE(refusal("rewardbench-2", list("7", "Ties", 2, 2).dump()).find("expected ref:NUMBER or tied:NUMBER"),
            std::string::npos);
}

TEST_F(Benchmarks, AKeyThatStandsTwiceInAListIsToldWithItsElement) {
  const std::string said = refusal("llmbar", R"([1, [2, {"a": 3}],
    {"input": "q", "output_1": "a", "output_2": "b", "label": 1, "label": 2}])");
  EXPECT_NE(said.find("rows.jsonl: element 3 of the list: the key \"label\" stands twice in one object"), std::string::npos)
      << said;
}

TEST_F(Benchmarks, ATextThatIsBothBetterAndWorseIsTold) {
  const auto said = [&](const std::string& name, const std::vector<json>& rows) {
    const test::CapturedLog log;
    (void)read(name, lines(rows));
    return log.text();
  };
  const json sound = {{"prompt", "q"}, {"chosen", {"a", "b", "c"}}, {"rejected", {"d", "e", "d"}}, {"domain", "chat"}},
             both = {{"prompt", "q"}, {"chosen", {"a", "b", "c"}}, {"rejected", {"a", "e", "b"}}, {"domain", "chat"}};
  EXPECT_EQ(said("rm-bench", {sound}).find("same text"), std::string::npos);
  EXPECT_NE(said("rm-bench", {sound, both})
                .find("count half for every model that scores texts: 2, the first at " + (directory_ / "rows.jsonl:2").string()),
            std::string::npos);
  EXPECT_NE(
      said("llmbar", {{{"input", "q"}, {"output_1", "a"}, {"output_2", "a"}, {"label", 1}}}).find("scores texts: 1, the first"),
      std::string::npos);
}

}  // namespace
}  // namespace dmoerm::eval
