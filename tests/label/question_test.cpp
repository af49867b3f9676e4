// Questions: what is sent, byte for byte, and that no text can step out of its place.
#include "label/question.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "config/utf8.h"
#include "judge_files.h"
#include "judge_server/verdict_source.h"
#include "support/scratch.h"

namespace dmoerm::label {
namespace {

using nlohmann::json;
using test::message_of;

const std::vector<pair::Message> kPrompt = {{"system", "Be brief."}, {"user", "Why is the sky blue?"}};

JudgeParameters parameters(AnswerForm form = AnswerForm::json_schema) {
  JudgeParameters result;
  result.model = "judge-1";
  result.form = form;
  return result;
}

QuestionBuilder builder(JudgeParameters given = parameters(), ContextRule rule = {}, const std::string& language = "en") {
  return {shipped_template(language), shipped_points(language), std::move(given), std::move(rule)};
}

/// The texts of the messages, as tests/judge_server joins them.
std::string prompt_of(const std::string& body) {
  std::string prompt;
  const json request = json::parse(body);
  for (const json& message : request.at("messages")) prompt += message.at("content").get<std::string>() + '\n';
  return prompt;
}

TEST(Question, SwapChangesBodyAndKeyButNeverThePair) {
  const QuestionBuilder ask = builder();
  const Question given = ask.build({"g", kPrompt, "Scattering.", "It is magic."}, "obj_qa", "logic", false)->question;
  const Question swapped = ask.build({"g", kPrompt, "Scattering.", "It is magic."}, "obj_qa", "logic", true)->question;
  EXPECT_NE(given.body, swapped.body);
  EXPECT_NE(given.key, swapped.key);
  EXPECT_EQ(given.pair, swapped.pair);
  EXPECT_EQ(given.pair, pair_digest(kPrompt, "Scattering.", "It is magic."));
  EXPECT_NE(given.pair, pair_digest(kPrompt, "It is magic.", "Scattering."));
  const judge::Question one = judge::read_question(prompt_of(given.body)), two = judge::read_question(prompt_of(swapped.body));
  EXPECT_EQ(one.first, "Scattering.");
  EXPECT_EQ(one.second, "It is magic.");
  EXPECT_EQ(two.first, "It is magic.");
  EXPECT_EQ(two.second, "Scattering.");
  EXPECT_EQ(one.point, "logic");
}

}  // namespace
}  // namespace dmoerm::label
