// Tests the labels and costs of replies without asking a judge.
#include "label/reply_label.h"

#include <gtest/gtest.h>

#include "judge/context_rule.h"

namespace dmoerm::label {
namespace {

using judge::JudgeReply;

TEST(RefusesAnswerForm, DependsOnTheReasonAndNotOnTheMessage) {
  JudgeReply reply;
  reply.status = JudgeReply::error;
  reply.http_status = 400;
  reply.detail = "http://host/v1 answered 400: the schema of your database is not known";
  EXPECT_FALSE(refuses_answer_form(reply));
  reply.reason = JudgeReply::Reason::response_format;
  reply.detail = "worded in any way";
  EXPECT_TRUE(refuses_answer_form(reply));
  reply.status = JudgeReply::cancelled;
  EXPECT_FALSE(refuses_answer_form(reply));
}

TEST(CostOf, IsEstimatedWhereTheServerCannotHaveCounted) {
  config::LabelsConfig labels;
  labels.judges.resize(1);
  labels.judges[0].model = "judge";
  labels.judges[0].max_tokens = 64;
  const std::vector<judge::Judge> judges = judge::make_judges(labels, DMOERM_SOURCE "/configs/judge", {});
  judge::BuiltQuestion question;
  question.prompt_tokens = 800;
  const auto cost = [&](std::int32_t prompt, std::int32_t completion, const std::string& text,
                        const std::string& finish = "stop") {
    JudgeReply reply;
    reply.status = JudgeReply::ok;
    reply.prompt_tokens = prompt;
    reply.completion_tokens = completion;
    reply.text = text;
    reply.finish_reason = finish;
    forget_impossible_counts(reply, question);
    const judge::Usage used = cost_of(judges[0], question, reply);
    return std::pair(used.prompt_tokens, used.completion_tokens);
  };
  using Tokens = std::pair<std::int64_t, std::int64_t>;
  const std::string words = "The first response is more accurate, and names the year. Verdict: 1";
  const std::int64_t estimate = judge::estimate_tokens(words);
  EXPECT_EQ(cost(500, 12, words), Tokens(500, 12));
  EXPECT_EQ(cost(100, 12, words), Tokens(100, 12)) << "the estimate may be much too high";
  EXPECT_EQ(cost(1, 1, words), Tokens(800, estimate));
  EXPECT_EQ(cost(0, 0, words), Tokens(800, estimate));
  EXPECT_EQ(cost(-1, -1, words), Tokens(800, estimate));
  EXPECT_EQ(cost(-1, -1, "", "stop"), Tokens(800, 64)) << "it may have thought";
  EXPECT_EQ(cost(-1, -1, "Let me th", "length"), Tokens(800, 64));
  EXPECT_EQ(cost(500, 900, words), Tokens(500, 900)) << "what the server says of thoughts";
}

TEST(CostOf, CountsEachTryThatTheServerDidNotRefuseAsTooMany) {
  config::LabelsConfig labels;
  labels.judges.resize(1);
  labels.judges[0].model = "judge";
  const std::vector<judge::Judge> judges = judge::make_judges(labels, DMOERM_SOURCE "/configs/judge", {});
  JudgeReply reply;
  reply.status = JudgeReply::ok;
  EXPECT_EQ(cost_of(judges[0], {}, reply).requests, 1);
  reply.tries = 5;
  reply.throttled_tries = 2;
  const judge::Usage used = cost_of(judges[0], {}, reply);
  EXPECT_EQ(used.requests, 3);
  const label_store::Label label = label_of(judges[0], {}, 0, reply, used);
  std::vector<Asked> asked(1);
  asked[0].requests = used.requests;
  const std::vector<label_store::Label> stored = with_earlier_tries({&label, 1}, asked);
  ASSERT_EQ(stored.size(), 3U);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(stored[static_cast<std::size_t>(i)].verdict, preference::Verdict::error);
    EXPECT_EQ(stored[static_cast<std::size_t>(i)].prompt_tokens, 0);
  }
  EXPECT_EQ(stored[2].prompt_tokens, label.prompt_tokens);
  EXPECT_EQ(stored[2].verdict, label.verdict);
}

TEST(CostOf, CountsTheTriesOfAQuestionThatWasLeftUnanswered) {
  config::LabelsConfig labels;
  labels.judges.resize(1);
  labels.judges[0].model = "judge";
  const std::vector<judge::Judge> judges = judge::make_judges(labels, DMOERM_SOURCE "/configs/judge", {});
  const auto requests = [&](JudgeReply::Status status, int tries, int throttled, int http_status) {
    JudgeReply reply;
    reply.status = status;
    reply.tries = tries;
    reply.throttled_tries = throttled;
    reply.http_status = http_status;
    return cost_without_answer(judges[0], {}, reply).requests;
  };
  EXPECT_EQ(requests(JudgeReply::cancelled, 0, 0, 0), 0) << "it was never sent";
  EXPECT_EQ(requests(JudgeReply::cancelled, 4, 1, 502), 3);
  EXPECT_EQ(requests(JudgeReply::unauthorised, 1, 0, 401), 0) << "refused as all are";
  EXPECT_EQ(requests(JudgeReply::model_unknown, 3, 0, 404), 2);
  EXPECT_EQ(requests(JudgeReply::unreachable, 3, 0, 0), 3);
}

TEST(LabelOf, HasTheIdOfItsQuestion) {
  config::LabelsConfig labels;
  labels.judges.resize(1);
  labels.judges[0].model = "judge";
  const std::vector<judge::Judge> judges = judge::make_judges(labels, DMOERM_SOURCE "/configs/judge", {});
  judge::Question question;
  question.key = sha256("key");
  question.pair = sha256("pair");
  question.category = "summarization";
  question.point = "coherence";
  question.judge = "judge";
  question.template_name = "pairwise-en@3f9c01d2a4b7";
  question.swapped = true;
  question.sample = 3;
  JudgeReply reply;
  reply.status = JudgeReply::ok;
  reply.text = R"({"verdict": "2"})";
  const label_store::Label label = label_of(judges[0], question, 0, reply, {1, 100, 10, 42});
  EXPECT_EQ(label.key, question.key);
  EXPECT_EQ(label.pair, question.pair);
  EXPECT_EQ(label.category, "summarization");
  EXPECT_EQ(label.point, "coherence");
  EXPECT_EQ(label.judge, "judge");
  EXPECT_EQ(label.template_name, "pairwise-en@3f9c01d2a4b7");
  EXPECT_TRUE(label.swapped);
  EXPECT_EQ(label.sample, 3);
  EXPECT_EQ(label.verdict, preference::Verdict::second);
  EXPECT_EQ(label.cost_micros, 42);
}

TEST(ReadAgain, FindsVerdictsThatAnEarlierVersionDidNotRead) {
  config::LabelsConfig labels;
  labels.judges.resize(1);
  labels.judges[0].model = "judge";
  const std::vector<judge::Judge> judges = judge::make_judges(labels, DMOERM_SOURCE "/configs/judge", {});
  label_store::Label label;
  label.judge = "judge";
  label.template_name = judges[0].answer_forms[0].judge_template().id();
  label.verdict = preference::Verdict::unparsable;
  const auto read = [&](const std::string& reply) {
    label.reply = reply;
    return read_again(judges, label);
  };
  EXPECT_EQ(read("Urteil: Antwort 2"), preference::Verdict::second);
  EXPECT_EQ(read("{\"verdict\": \"1\"} // clear\n[finish_reason: eos]"), preference::Verdict::first);
  EXPECT_EQ(read("Verdict: 1\n[finish_reason: length]"), std::nullopt) << "it was cut off, so a line may be a quotation";
  EXPECT_EQ(read("Verdict: 1\n[finish_reason: MAX_TOKENS]"), std::nullopt) << "another server's word for the same";
  EXPECT_EQ(read("It is hard to say."), std::nullopt);
  EXPECT_EQ(read(""), std::nullopt);
  EXPECT_EQ(read("[finish_reason: length]"), std::nullopt);
  label.template_name = "mine@000000000000";
  EXPECT_EQ(read("Urteil: Antwort 2"), std::nullopt) << "another template may ask for other words";
  label.template_name = judges[0].answer_forms[0].judge_template().id();
  label.judge = "another";
  EXPECT_EQ(read("Urteil: Antwort 2"), std::nullopt);
}

}  // namespace
}  // namespace dmoerm::label
