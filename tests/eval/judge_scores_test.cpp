#include "eval/judge_scores.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/evaluation.h"
#include "eval/read_data.h"
#include "support/judge_process.h"
#include "support/scratch.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

class JudgeScores : public test::Scratch {
 protected:
  JudgeScores() {
    std::string rows;
    for (int i = 0; i < 30; ++i) {
      json row = {{"id", std::to_string(i)},
                  {"category", "chat"},
                  {"prompt", fmt::format("Question {}?", i)},
                  {"responses", json::array()}};
      for (int r = 0; r < 3; ++r)
        row["responses"].push_back(
            {{"rid", r}, {"text", fmt::format("Answer {} to {}.", r, i)}, {"overall", r == 2 ? 1 : 10 * (1 - r)}});
      rows += row.dump() + "\n";
    }
    rows_ = write("rows.jsonl", rows);
  }
  std::string config(const std::string& url, const std::string& more = "") {
    return write(
        "judge.yaml",
        fmt::format("name: judged\nruns_dir: {0}/runs\nbackbone: {{dir: .}}\ndata: {{inputs: [{{path: rows.jsonl}}]}}\n"
                    "categories: [{{name: chat, points: [empathy_ability]}}]\nlabels:\n  judges: [{{model: judge, endpoints: "
                    "[{{url: \"{1}\"}}], price_prompt: 1, price_completion: 10}}]\n{2}",
                    directory_.string(), url, more));
  }
  std::string rows_;
};

TEST_F(JudgeScores, AskInBothOrdersAndPayOnce) {
  const test::JudgeProcess server(directory_, {"--data", rows_});
  const Data data = read_data({rows_}, {});
  std::size_t told = 0;
  const auto ask = [&] {
    return judge_scores("j", config(server.url()), data, [&](auto&&, std::size_t, std::size_t all) { told = all; });
  };
  const ModelScores first = ask();
  EXPECT_EQ(told, 180U) << "three pairs of thirty groups in two orders";
  ASSERT_TRUE(first.cost);
  EXPECT_EQ(first.cost->requests, 180);
  EXPECT_GT(first.cost->money, 0);
  double right = 0, pairs = 0;
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    EXPECT_TRUE(first.items[i].scores.empty());
    for (const preference::Preference& p : overall_pairs(data.items[i])) {
      right += right_of(first.items[i], p).value();
      pairs += 1;
    }
  }
  EXPECT_EQ(pairs, 90);
  EXPECT_GT(right / pairs, 0.6) << "this judge replays the overall scores, with an order effect that leaves some pairs undecided";
  const ModelScores again = ask();
  EXPECT_EQ(again.cost->requests, 0) << "every answer is stored";
  EXPECT_EQ(first.cost->pairs, 90);
  EXPECT_EQ(again.cost->pairs, 0);
  for (std::size_t i = 0; i < data.items.size(); ++i) EXPECT_EQ(again.items[i].preferences, first.items[i].preferences);
  const json result = evaluate({data, {first}, {.resamples = 100}});
  EXPECT_NEAR(result["accuracy"]["chat"]["overall"]["models"]["j"]["pooled"]["value"].get<double>(), right / pairs, 1e-12);
  EXPECT_EQ(result["models"][0]["cost"]["requests"], 180);
  EXPECT_TRUE(result["models"][0]["tokens"].is_null()) << "of answers that were stored they are not known";
  EXPECT_NEAR(result["models"][0]["cost"]["money_per_1000_pairs"].get<double>(), first.cost->money / 0.09, 1e-9);
  EXPECT_FALSE(evaluate({data, {again}, {.resamples = 100}})["models"][0]["cost"].contains("money_per_1000_pairs"))
      << "what is known costs nothing, and does not say what a pair costs";
}

TEST_F(JudgeScores, StopAtTheBudgetAndContinue) {
  const test::JudgeProcess server(directory_, {"--data", rows_});
  const Data data = read_data({rows_}, {});
  const auto none = [](auto&&...) {};
  const std::string refusal = test::message_of<Stopped>(
      [&] { (void)judge_scores("j", config(server.url(), "  budget: {requests_max: 50}\n"), data, none); });
  EXPECT_NE(refusal.find("ended early"), std::string::npos) << refusal;
  EXPECT_LE(judge_scores("j", config(server.url()), data, none).cost->requests, 131) << "the fifty are stored";
}

TEST_F(JudgeScores, NeedAJudge) {
  const Data data = read_data({rows_}, {});
  const std::string file = write("none.yaml",
                                 "name: n\nbackbone: {dir: .}\ndata: {inputs: [{path: rows.jsonl}]}\ncategories: [{name: chat, "
                                 "points: [empathy_ability]}]\n");
  EXPECT_NE(test::message_of<ConfigError>([&] { (void)judge_scores("j", file, data, [](auto&&...) {}); }).find("no judge to ask"),
            std::string::npos);
}

}  // namespace
}  // namespace dmoerm::eval
