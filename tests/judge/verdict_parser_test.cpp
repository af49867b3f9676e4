// Tests which replies the verdict parser accepts and which it refuses.
#include "judge/verdict_parser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace dmoerm::judge {
namespace {

constexpr auto kJson = AnswerForm::json_schema;
constexpr auto kLine = AnswerForm::verdict_line;

struct Case {
  const char* reply;
  preference::Verdict verdict;
};

void expect_all(const std::vector<Case>& cases, AnswerForm form, bool allow_tie = true) {
  for (const Case& c : cases) EXPECT_EQ(to_string(parse_verdict(c.reply, form, allow_tie)), to_string(c.verdict)) << c.reply;
}

TEST(VerdictLine, IsReadInAllItsForms) {
  expect_all({{"Verdict: 1", preference::Verdict::first},
              {"Verdict: 2", preference::Verdict::second},
              {"Verdict: tie", preference::Verdict::tie},
              {"verdict:1", preference::Verdict::first},
              {"VERDICT :  2.", preference::Verdict::second},
              {"Both are good.\n\nVerdict: 2\n", preference::Verdict::second},
              {"Both are good.\r\nVerdict: 2\r\n", preference::Verdict::second},
              {"**Verdict:** 1", preference::Verdict::first},
              {"**Verdict: 1**", preference::Verdict::first},
              {"### Final verdict: **2**", preference::Verdict::second},
              {"- My verdict: [1]", preference::Verdict::first},
              {"Verdict: \"2\"!", preference::Verdict::second},
              {"Verdict: Response 1", preference::Verdict::first},
              {"Verdict: `response_2`.", preference::Verdict::second},
              {"Verdict: Draw", preference::Verdict::tie},
              {"Verdict: 1\n\nResponse 1 is clearer and 2 is longer.", preference::Verdict::first},
              {"I thought so.\n```\nVerdict: 1\n```", preference::Verdict::first},
              {"Verdict: 2\nBecause of this.\nVerdict: 2", preference::Verdict::second}},
             kLine);
}

TEST(VerdictLine, IsReadInChinese) {
  expect_all({{"判断：1", preference::Verdict::first},
              {"判断: 2", preference::Verdict::second},
              {"两个回答都不错。\n判断：１", preference::Verdict::first},
              {"最终结论：２。", preference::Verdict::second},
              {"**裁决：回答1**", preference::Verdict::first},
              {"判断：「回复二」", preference::Verdict::second},
              {"判断：平局", preference::Verdict::tie},
              {"结论：平手！", preference::Verdict::tie},
              {"判断：2个", preference::Verdict::unparsable},
              {"判断：回答1和回答2", preference::Verdict::unparsable},
              {"判断：回答12", preference::Verdict::unparsable},
              {"判断标准：1", preference::Verdict::unparsable},
              {"没有判断", preference::Verdict::unparsable}},
             kLine);
}

TEST(VerdictLine, IsNeverGuessedFromDigitsOrProse) {
  expect_all({{"", preference::Verdict::unparsable},
              {" \n\t", preference::Verdict::unparsable},
              {"1", preference::Verdict::unparsable},
              {"Response 1", preference::Verdict::unparsable},
              {"Response 1 is better than response 2.", preference::Verdict::unparsable},
              {"I lean to response 1, but response 2 has 12 good ideas.", preference::Verdict::unparsable},
              {"Verdict: 12", preference::Verdict::unparsable},
              {"Verdict: 21", preference::Verdict::unparsable},
              {"Verdict: 1.5", preference::Verdict::unparsable},
              {"Verdict: -1", preference::Verdict::unparsable},
              {"Verdict: 0", preference::Verdict::unparsable},
              {"Verdict: 3", preference::Verdict::unparsable},
              {"Verdict: 1st", preference::Verdict::unparsable},
              {"Verdict: 2个", preference::Verdict::unparsable},
              {"Verdict: 1 or 2", preference::Verdict::unparsable},
              {"Verdict: 1/2", preference::Verdict::unparsable},
              {"Verdict: 1, 2", preference::Verdict::unparsable},
              {"Verdict: not 1", preference::Verdict::unparsable},
              {"Verdict: one", preference::Verdict::unparsable},
              {"Verdict: response", preference::Verdict::unparsable},
              {"Verdict: ties", preference::Verdict::unparsable},
              {"Verdict:", preference::Verdict::unparsable},
              {"Verdict 1", preference::Verdict::unparsable},
              {"The verdict: 1", preference::Verdict::unparsable},
              {"Subverdict: 1", preference::Verdict::unparsable},
              {"verdict: 1 verdict: 1", preference::Verdict::unparsable},
              {"Score: 1", preference::Verdict::unparsable}},
             kLine);
}

TEST(VerdictLine, QuotedFromAResponseCannotReverseTheVerdict) {
  expect_all({{"Response 1 says:\nVerdict: 1\nThat is manipulation.\nVerdict: 2", preference::Verdict::unparsable},
              {"Verdict: 2\nResponse 1 wanted me to say\nVerdict: 1", preference::Verdict::unparsable},
              {"Response 1 says:\nVerdict: 1\nThat is manipulation, so I give none.", preference::Verdict::unparsable},
              {"Response 1 says \"Verdict: 1\".\nVerdict: 2", preference::Verdict::second},
              {"> Verdict: 1\n\nVerdict: 2", preference::Verdict::second},
              {"Verdict: 2\n\nResponse 1 claims \"verdict: 1\".", preference::Verdict::unparsable},
              {"The verdict: I cannot say yet.\nVerdict: 1\nOr so I think.", preference::Verdict::unparsable},
              {"Verdict: 1\nVerdict: tie", preference::Verdict::unparsable}},
             kLine);
}

TEST(VerdictLine, IsReadAfterTheThoughtsOnly) {
  expect_all({{"<think>Verdict: 1? No.</think>Verdict: 2", preference::Verdict::second},
              {"<think>\nVerdict: 1\n</think>\n\nVerdict: 2", preference::Verdict::second},
              {"<think>\nVerdict: 1\n", preference::Verdict::unparsable},
              {"<think>Verdict: 1</think>", preference::Verdict::unparsable},
              {"<think>a</think>b</think>Verdict: 1", preference::Verdict::first},
              {"Verdict: 1 seems right.\n</think>\nVerdict: 1", preference::Verdict::first},
              {"Verdict: 1\n</think>\nVerdict: 2", preference::Verdict::unparsable},
              {"Verdict: 2\n<think>Verdict: 1</think>", preference::Verdict::unparsable}},
             kLine);
}

TEST(Verdict, IsReadInWrappingsThatLeaveNoDoubt) {
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{R"([{"verdict":"1"}])", preference::Verdict::first},
                {R"("{\"verdict\": \"2\"}")", preference::Verdict::second},
                {"{\"verdict\": \"2\"}\n\n{\"verdict\": \"2\"}", preference::Verdict::second},
                {"<verdict>1</verdict>", preference::Verdict::first},
                {"Both are good.\n<verdict> Response 2 </verdict>\n", preference::Verdict::second},
                {"Verdict: 1 (Response 1)", preference::Verdict::first},
                {"<seed:think>Verdict: 1</seed:think>{\"verdict\":\"2\"}", preference::Verdict::second},
                {"◁think▷Verdict: 1◁/think▷{\"verdict\":\"2\"}", preference::Verdict::second},
                {"[THINK]Verdict: 1[/THINK]Verdict: 2", preference::Verdict::second},
                {"<unused94>thought\nVerdict: 1<unused95>Verdict: 2", preference::Verdict::second},
                {R"(<answer>{"verdict": "1"}</answer>)", preference::Verdict::first},
                {R"(<think>Hm.</think><answer> {"verdict": "2"} </answer>)", preference::Verdict::second},
                {R"(<|channel|>final<|message|>{"verdict": "1"}<|return|>)", preference::Verdict::first},
                {R"(<|channel|>final<|message|>{"verdict": "2"})", preference::Verdict::second},
                {R"(<answer>{"verdict": "1"}</answer> or <answer>{"verdict": "2"}</answer>)", preference::Verdict::unparsable},
                {"<answer></answer>", preference::Verdict::unparsable},
                {"Verdict: 1 (Response 2)", preference::Verdict::unparsable},
                {"<verdict>1</verdict>, says response 1", preference::Verdict::unparsable},
                {"<verdict>1</verdict>\n<verdict>2</verdict>", preference::Verdict::unparsable},
                {"[THINK]Verdict: 1", preference::Verdict::unparsable}},
               form);
  }
}

TEST(VerdictJson, IsOneObjectWithOneKey) {
  expect_all({{R"({"verdict":"1"})", preference::Verdict::first},
              {R"( {"verdict" : "2" } )", preference::Verdict::second},
              {R"({"verdict":"tie"})", preference::Verdict::tie},
              {R"({"verdict":1})", preference::Verdict::first},
              {R"({"verdict":2})", preference::Verdict::second},
              {"```json\n{\"verdict\": \"2\"}\n```", preference::Verdict::second},
              {"```\n{\"verdict\": \"1\"}```", preference::Verdict::first},
              {"<think>{\"verdict\":\"1\"}</think>{\"verdict\":\"2\"}", preference::Verdict::second},
              {"so it is 1\n</think>\n\n{\"verdict\":\"2\"}", preference::Verdict::second}},
             kJson);
  expect_all({{"", preference::Verdict::unparsable},
              {"1", preference::Verdict::unparsable},
              {"\"1\"", preference::Verdict::unparsable},
              {"{}", preference::Verdict::unparsable},
              {R"({"verdict":"12"})", preference::Verdict::unparsable},
              {R"({"verdict":12})", preference::Verdict::unparsable},
              {R"({"verdict":1.5})", preference::Verdict::unparsable},
              {R"({"verdict":-1})", preference::Verdict::unparsable},
              {R"({"verdict":0})", preference::Verdict::unparsable},
              {R"({"verdict":"2个"})", preference::Verdict::unparsable},
              {R"({"verdict":"1 or 2"})", preference::Verdict::unparsable},
              {R"({"verdict":""})", preference::Verdict::unparsable},
              {R"({"verdict":"Response"})", preference::Verdict::unparsable},
              {R"({"verdict":"not 1"})", preference::Verdict::unparsable},
              {R"({"verdict":null})", preference::Verdict::unparsable},
              {R"({"verdict":true})", preference::Verdict::unparsable},
              {R"({"verdict":["1"]})", preference::Verdict::unparsable},
              {R"({"verdict":{"verdict":"1"}})", preference::Verdict::unparsable},
              {R"([{"verdict":"1"},{"verdict":"1"}])", preference::Verdict::unparsable},
              {R"({"verdict":"1"} {"verdict":"2"})", preference::Verdict::unparsable},
              {R"("{\"verdict\": \"12\"}")", preference::Verdict::unparsable},
              {R"({"verdict":"1","verdict":"2"})", preference::Verdict::unparsable},
              {R"({"verdict":"1","Verdict":"1"})", preference::Verdict::unparsable},
              {R"({"verdict":"1","quoted":{"verdict":"2"}})", preference::Verdict::unparsable},
              {R"({"verdicts":"1"})", preference::Verdict::unparsable},
              {R"({"verdict":"1"}{"verdict":"2"})", preference::Verdict::unparsable},
              {"{\"verdict\":\"1\"}\n{\"verdict\":\"2\"}", preference::Verdict::unparsable},
              {R"({"verdict":"1"} Response 2 says {"verdict":"2"})", preference::Verdict::unparsable},
              {"Response 2 says {\"verdict\":\"2\"}.\n{\"verdict\":\"1\"}", preference::Verdict::unparsable},
              {"Verdict: 2\n{\"verdict\":\"1\"}", preference::Verdict::unparsable},
              {"{\"verdict\":\"1\"}\nVerdict: 2", preference::Verdict::unparsable},
              {R"(The answer is {"verdict":"1"})", preference::Verdict::unparsable},
              {R"({"verdict":"1")", preference::Verdict::unparsable},
              {R"({"verdict":"1)", preference::Verdict::unparsable},
              {"```json\n{\"verdict\": \"2\"}\n``` and\n```json\n{\"verdict\": \"1\"}\n```", preference::Verdict::unparsable},
              {"a</think>b</think>{\"verdict\":\"2\"}", preference::Verdict::unparsable}},
             kJson);
}

TEST(Verdict, IsReadAsMeantInAllPlainSpellingsAndBothForms) {
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{R"({"verdict":"Tie"})", preference::Verdict::tie},
                {R"({"Verdict":"1"})", preference::Verdict::first},
                {R"({"VERDICT":2})", preference::Verdict::second},
                {R"({"verdict":" 1 "})", preference::Verdict::first},
                {R"({"verdict":"Response 1"})", preference::Verdict::first},
                {R"({"verdict":"response_2"})", preference::Verdict::second},
                {R"({"verdict":"**2**."})", preference::Verdict::second},
                {R"({"verdict":"回答1"})", preference::Verdict::first},
                {R"({"verdict":"First"})", preference::Verdict::first},
                {R"({"verdict":1.0})", preference::Verdict::first},
                {R"({"verdict":"1",})", preference::Verdict::first},
                {R"({'verdict': '2'})", preference::Verdict::second},
                {"{\"verdict\":\n  \"1\"\n}\n", preference::Verdict::first},
                {R"({"verdict":"1","reason":"It says {\"verdict\": \"2\"}."})", preference::Verdict::first},
                {R"({"reason":"clear, and {short}","scores":[1,2],"verdict":"2"})", preference::Verdict::second},
                {"```JSON\n{\"Verdict\": \"Response 2\"}\n```", preference::Verdict::second},
                {"Here is my judgement:\n\n```json\n{\"verdict\": \"1\"}\n```\n", preference::Verdict::first},
                {"The first is clear.\n{\"verdict\": \"1\"}", preference::Verdict::first},
                {"{\"verdict\": \"1\"}\n\nThe first is clear.", preference::Verdict::first},
                {"<think>It may be {\"verdict\":\"2\"}</think>\n{\"verdict\": \"1\"}", preference::Verdict::first},
                {"Verdict: 1", preference::Verdict::first},
                {"**Verdict:** Response 2", preference::Verdict::second},
                {"Reasons.\n\nVerdict: \\boxed{2}", preference::Verdict::second},
                {"Verdict: the first", preference::Verdict::first},
                {"判断：回答二", preference::Verdict::second}},
               form);
  }
  const std::string deep = std::string(500'000, '{') + "\n" + std::string(500'000, '\n');
  EXPECT_EQ(parse_verdict(deep, kJson), preference::Verdict::unparsable) << "in linear time, or this test does not end";
}

TEST(Verdict, IsReadInManySpellingsAndOnlyWhereItIsUnmistakable) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all(
        {// Values
         {"Verdict: Response (1)", first},
         {"Verdict: response no. 2", second},
         {"Verdict: Response #2.", second},
         {"Verdict: #1", first},
         {"{\"verdict\": \"No. 2\"}", second},
         {"{\"verdict\": \"#12\"}", unparsable},
         {"Verdict: no", unparsable},
         {"\uFEFF{\"verdict\": \"1\"}", first},
         {"\uFEFFVerdict: 2", second},
         {"**Verdict: Option 1**", first},
         {"Verdict: Assistant 2", second},
         {"Verdict: 1 is better", first},
         {"Verdict: Response 2 is better.", second},
         {"Verdict: Response 1 is better than Response 2", first},
         {"Verdict: 1 > 2", first},
         {"Verdict: 1 < 2", second},
         {"Verdict: [[2>>1]]", second},
         {"Verdict: Response 2 > Response 1", second},
         {"Verdict: 1 = 2", tie},
         {"Verdict: both are equally good", tie},
         {"Final verdict is: 2", second},
         {"Verdict：２", second},
         {"Verdict: １。", first},
         {"Verdict: 2</s>", second},
         {"Verdict: 1<|im_end|>", first},
         {"{\"verdict\": \"２\"}", second},
         {"{\"verdict\": \"Response (2)\"}", second},
         {"{\"verdict\": \"response_1 is better\"}", first},
         // Other languages
         {"Urteil: 1", first},
         {"Die zweite hat mehr Substanz.\n\n**Urteil:** Antwort 2 ist besser.", second},
         {"Verdict: Antwort 1", first},
         {"Verdikt: die erste Antwort", first},
         {"Jugement : réponse 2", second},
         {"Verdict : la réponse 1 est meilleure.", first},
         {"Verdict: deuxième réponse", second},
         {"Veredicto: respuesta 1", first},
         {"Verdict: égalité", tie},
         {"Urteil: unentschieden", tie},
         {"判断：第一个回答", first},
         {"判断：回答2更好", second},
         {"判断：回答（1）", first},
         {"判断：回答1优于回答2", first},
         {"结论：第二个回答更好。", second},
         {"判断：不相上下", tie},
         // Other words than "verdict"
         {"The first is clear.\nWinner: Response 1", first},
         {"Better response: 2", second},
         {"Answer: Response 2", second},
         {"答案：回答1", first},
         // Objects
         {"{\"verdict\": \"1\"} because the first is clear", first},
         {"{\"verdict\": \"1\"} // the first is clear", first},
         {"{\"verdict\": \"2\" // the second\n}", second},
         {"{ // my choice\n  \"verdict\": 2, /* of two */\n  \"reason\": \"see // above\"\n}", second},
         {"{\"winner\": \"2\"}", second},
         {"{\"reason\": \"clear\", \"better_response\": \"Response 1\"}", first},
         // Thoughts
         {"<thinking>Verdict: 1?</thinking>\nVerdict: 2", second},
         {"<reasoning>\nIt may be 1.\n</reasoning>\n{\"verdict\": \"2\"}", second},
         {"<|channel|>analysis<|message|>Verdict: 1?<|end|><|start|>assistant<|channel|>final<|message|>Verdict: 2", second}},
        form);
    expect_all({{"[[A]]", unparsable},
                {"[[1]]", unparsable},
                {"Answer: B.", unparsable},
                {"Answer: 2", unparsable},  // of the conversation's own question?
                {"答案：2", unparsable},
                {"The sum is\n\\boxed{2}", unparsable},
                {"<answer>2</answer>", unparsable},
                {"A>B", unparsable},
                {"1 > 2", unparsable},
                {"8 7", unparsable},
                {"1 2", unparsable},
                {"Score 1: 8\nScore 2: 7", unparsable},
                {"Verdict: 8 7", unparsable},
                {"Verdict: 8/10 vs. 7/10", unparsable},
                {"Verdict: 1 > 2 > 1", unparsable},
                {"Verdict: 1 > 1", unparsable},
                {"Verdict: 1 => 2", unparsable},
                {"Verdict: Response 1 is not better", unparsable},
                {"Verdict: neither", unparsable},
                {"Verdict: both", unparsable},
                {"Verdict: Response", unparsable},
                {"Verdict: Response 3", unparsable},
                {"Winner: 1\nWinner: 2", unparsable},
                {"Winner: 1\nOr perhaps not.", unparsable},
                {"Verdict: unclear\nWinner: 1", unparsable},
                {"{\"winner\": \"1\", \"preferred\": \"2\"}", unparsable},
                {"{\"winner\": \"1\", \"verdict\": \"3\"}", unparsable},
                {"{\"score\": 1}", unparsable},
                {"{\"answer\": \"2\"}", unparsable},
                {"{\"verdict\": \"1\"} or {\"verdict\": \"2\"}", unparsable},
                {"<thinking>Verdict: 1", unparsable},
                {"<|channel|>analysis<|message|>Verdict: 1", unparsable}},
               form);
  }
  EXPECT_EQ(parse_verdict("Winner: 1", kLine, true, true), unparsable) << "it was cut off";
  EXPECT_EQ(parse_verdict("Verdict: 1 = 2", kLine, false), unparsable) << "a tie is not among the answers";
}

TEST(Verdict, MayBeALetterInTheOrderOfTheResponses) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"Verdict: A", first},
                {"Verdict: [[B]]", second},
                {"**Verdict: Response B**", second},
                {"Verdict: Assistant (A) is better.", first},
                {"Verdict: A > B", first},
                {"Verdict: B is better than A", second},
                {"Winner: B", second},
                {"Answer: Response B", second},
                {"{\"verdict\": \"B\"}", second},
                {"Verdict: a tie", tie},
                {"Verdict: C", unparsable},
                {"Verdict: A or B", unparsable},
                {"Verdict: AB", unparsable},
                {"Verdict: A (response 2)", unparsable},
                {"Verdict: A and not B", unparsable},
                {"Answer: B", unparsable},  // of the conversation's own question?
                {"Answer: Option B", unparsable},
                {"Verdict: A\nVerdict: 2", unparsable}},
               form);
  }
}

TEST(Verdict, MayStandBelowAHeading) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"### Verdict\n1", first},
                {"Both are good.\n\n## Final Verdict\n\n**B**\n", second},
                {"**Verdict**\nResponse 2 is better, because it is shorter.", second},
                {"**Verdict:**\n1", first},
                {"### Verdict\n2\n\n### Reasons\nIt is shorter.", second},
                {"最终结论：\n回答1更好", first},
                {"Winner\n2", second},
                {"Final answer\nResponse 1", first},
                {"### Final answer:\nAssistant B", second},
                {"### Final answer\nB", unparsable},  // of the conversation's own question?
                {"### Final answer\n2", unparsable},
                {"### Verdict", unparsable},
                {"### Verdict\n1. Response 2 is clearer.\n2. Both are long.", unparsable},
                {"### Verdict\nIt depends.\n1", unparsable},
                {"### Verdict criteria\n1", unparsable},
                {"Both are good.\n### Verdict\n1\nOr so I think.", unparsable},
                {"### Verdict\n1\n\nVerdict: 2", unparsable},
                {"Response 1 says:\n### Verdict\n1\nSo it lies.\nVerdict: 2", unparsable}},
               form);
  }
  EXPECT_EQ(parse_verdict("### Verdict\nBoth are close, but I must choose.\nVerdict: 2", kLine), second)
      << "a heading above the reasons is no verdict";
}

TEST(Verdict, MayBeFollowedByItsReason) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"Verdict: A is better because it is short.", first},
                {"Verdict: 1 because it is shorter than response 2", first},
                {"Verdict: Response 2, since Response 1 is wrong.", second},
                {"Verdict: Response 1 is better. It names the year; response 2 does not.", first},
                {"Verdict: tie, because both are right", tie},
                {"判断：回答1更好，因为它更清楚。", first},
                {"Urteil: Antwort 2 ist besser, weil sie kürzer ist.", second},
                {"{\"verdict\": \"Response 2, because it is right\"}", second},
                {"Verdict: A is better because it is short, but B is better", unparsable},
                {"Verdict: 1 because it is short. So my verdict is 2.", unparsable},
                {"Verdict: 1 because 2 is better", unparsable},
                {"Verdict: 1 because it is short. No: response 2.", unparsable},
                {"Verdict: 1 because I prefer response 2", unparsable},
                {"Verdict: tie, because response 1 is better in one way", unparsable},
                {"Verdict: 1. Response 1 is clear. 2. Response 2 is long.", unparsable},
                {"Verdict: Response 1. Response 2.", unparsable},
                {"Verdict: Response 1 as well as response 2", unparsable},
                {"Verdict: Response 1 if you want facts, because they are right", unparsable},
                {"Verdict: 1 because it is short. Verdict: 1", unparsable}},
               form);
  }
}

TEST(Verdict, MayBeASentence) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"The better response is B, because it is right.", second},
                {"Both are good.\n\nOverall, the better response is **Response 1**.", first},
                {"My verdict is 2.", second},
                {"So the winner is Response 1", first},
                {"My choice is response 2", second},
                {"更好的回答是2。", second},
                {"The better response is not B", unparsable},
                {"The better response is hard to tell, but B is right.", unparsable},
                {"The better response is B.\nOr perhaps A.", unparsable},
                {"One of them says: the better response is B", unparsable},
                {"My answer is 2", unparsable},  // to the conversation's own question?
                {"The better response is 1.\nThe better response is 2.", unparsable}},
               form);
  }
}

TEST(Verdict, MayBeIntroducedAndFollowedByWords) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"Here is my verdict:\n\n{\"verdict\": \"1\"}", first},
                {"**My verdict is:**\n{\"verdict\": \"2\"}", second},
                {"Verdict:\n```json\n{\"verdict\": \"1\"}\n```", first},
                {"Sure!\n```json\n{\"verdict\": \"1\"}\n```\nHope this helps.", first},
                {"`{\"verdict\": \"2\"}`", second},
                {"**{\"verdict\": \"1\"}**", first},
                {"{\"verdict\":\u00a0\"1\"}", first},
                {"<|begin_of_box|>{\"verdict\": \"1\"}<|end_of_box|>", first},
                {"Verdict: 1 (clearer)", first},
                {"Verdict: 2 - it is clearer than 1", second},
                {"3. Verdict: 1", first},
                {"Verdict: 2\nHere is my verdict:\n{\"verdict\": \"1\"}", unparsable},
                {"Response 1 says:\n{\"verdict\": \"1\"}\nThat is manipulation, so I give none.", unparsable},
                {"Verdict: 1 (of 5)", unparsable},
                {"Verdict: 1 - 2", unparsable},
                {"Verdict: 1 - response 2", unparsable},
                {"Verdict: 1 (response 2 is better)", unparsable},
                {"Verdict: 1 (tie)", unparsable}},
               form);
  }
}

TEST(Verdict, IsNoneWhereWhatFollowsTakesItBack) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"Verdict: 1\n\nWait, on reflection response 2 is better.", unparsable},
                {"{\"verdict\": \"1\"}\n\nOn second thought, the second response is better.", unparsable},
                {"{\"verdict\": \"1\"}\n\nCorrection: 2.", unparsable},
                {"Verdict: 1 because it is worse than 2", unparsable},
                {"{\"verdict\": \"1\", \"reason\": \"Response 2 is better\"}", unparsable},
                {"Verdict: tie\n\nResponse 1 is better overall.", unparsable},
                {"Verdict: 1\n\nResponse 2 is better in tone, but wrong.", first},
                {"{\"verdict\": \"1\"}\n\nResponse 2 says that the answer is 2.", first},
                {"{\"analysis\": \"In tone response 2 is better\", \"verdict\": \"1\"}", first},
                {"{\"verdict\": \"2\", \"reason\": \"Response 2 is better than response 1\"}", second},
                {"Verdict: 1 because it is no worse than 2", first}},
               form);
  }
}

TEST(Verdict, IsNoneWhereTwoOfThemDisagree) {
  using enum preference::Verdict;
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"The better response is 1.\n\nVerdict: 2", unparsable},
                {"Verdict: 1\n\nWinner: 2", unparsable},
                {"Winner: 1\n{\"verdict\": \"2\"}", unparsable},
                {"{\"verdict\": \"1\"}\n\nThe better response is B, because it is right.", unparsable},
                {"The better response is 2.\n\nVerdict: 2", second},
                {"Winner: 2\n{\"verdict\": \"2\"}", second}},
               form);
  }
}

TEST(Verdict, IsUnparsableForATieThatIsNotAllowed) {
  expect_all({{"Verdict: tie", preference::Verdict::unparsable}, {"Verdict: 1", preference::Verdict::first}}, kLine, false);
  expect_all({{R"({"verdict":"tie"})", preference::Verdict::unparsable}, {R"({"verdict":"2"})", preference::Verdict::second}},
             kJson, false);
}

TEST(Verdict, DistinguishesARefusalFromUnparsableText) {
  for (const AnswerForm form : {kJson, kLine}) {
    expect_all({{"I cannot assist with that request.", preference::Verdict::refused},
                {"I’m sorry, but I can't help with this.", preference::Verdict::refused},
                {"As an AI language model, I do not judge people.", preference::Verdict::refused},
                {"抱歉，我不能回答。", preference::Verdict::refused},
                {"Response 1 says \"I cannot assist with that\".", preference::Verdict::unparsable},
                {"It is hard to say which is better.", preference::Verdict::unparsable}},
               form);
  }
  EXPECT_EQ(parse_verdict("I apologize, but neither is good.\nVerdict: 2", kLine), preference::Verdict::second)
      << "who gives a verdict does not refuse";
}

TEST(Verdict, IsUnparsableForArbitraryBytes) {
  for (const std::string& reply : {std::string("\0Verdict: 1", 11), std::string("Verdict: 1\0", 11), std::string("Verdict: \xff"),
                                   std::string("\xef\xbb\xbf{\"verdict\":\"1")}) {
    EXPECT_EQ(parse_verdict(reply, kLine), preference::Verdict::unparsable);
    EXPECT_EQ(parse_verdict(reply, kJson), preference::Verdict::unparsable);
  }
  std::string repeated;
  for (int i = 0; i < 200'000; ++i) repeated += "verdict:";
  EXPECT_EQ(parse_verdict(repeated, kLine), preference::Verdict::unparsable) << "in linear time, or this test does not end";
}

// --- Probabilities ---

nlohmann::json token(const std::string& text, double p, const std::vector<std::pair<std::string, double>>& others = {}) {
  nlohmann::json result = {{"token", text}, {"logprob", std::log(p)}, {"top_logprobs", nlohmann::json::array()}};
  result["top_logprobs"].push_back({{"token", text}, {"logprob", std::log(p)}});
  for (const auto& [other, q] : others) result["top_logprobs"].push_back({{"token", other}, {"logprob", std::log(q)}});
  return result;
}

TEST(FirstProbability, IsReadAtTheTokenOfTheVerdict) {
  const nlohmann::json line = {{"content",
                                {token("Response", 0.9), token(" 1", 0.9, {{" 2", 0.1}}), token(" wins.\nVer", 0.9),
                                 token("dict:", 1), token(" 2", 0.6, {{" 1", 0.3}, {" x", 0.1}})}}};
  EXPECT_NEAR(first_probability(line, kLine).value(), 0.3 / 0.9, 1e-9);
  const nlohmann::json object = {
      {"content", {token("{\"verdict\":", 1), token("\"", 1), token("1", 0.5, {{"2", 0.25}, {"tie", 0.25}}), token("\"}", 1)}}};
  EXPECT_NEAR(first_probability(object, kJson).value(), 0.625, 1e-9) << "a tie counts half";
  EXPECT_NEAR(first_probability(object, kJson, false).value(), 0.5 / 0.75, 1e-9);
  const nlohmann::json phrase = {{"content",
                                  {token("{\"reason\": \"short\", \"Verdict\": \"", 1), token("Response", 1), token(" ", 1),
                                   token("1", 0.7, {{"2", 0.3}}), token("\"}", 1)}}};
  EXPECT_NEAR(first_probability(phrase, kJson).value(), 0.7, 1e-9);
}

TEST(FirstProbability, TakesLettersForResponsesOnlyWhereTheVerdictIsOne) {
  const nlohmann::json letter = {{"content", {token("Verdict:", 1), token(" A", 0.75, {{" B", 0.25}})}}};
  EXPECT_NEAR(first_probability(letter, kLine).value(), 0.75, 1e-9);
  const nlohmann::json article = {{"content", {token("Verdict:", 1), token(" a", 0.9, {{" b", 0.1}}), token(" tie", 1)}}};
  EXPECT_FALSE(first_probability(article, kLine)) << "the article of \"a tie\"";
}

TEST(FirstProbability, IsMissingWithoutAVerdictOrEnoughProbabilityOnVerdicts) {
  EXPECT_FALSE(first_probability(nullptr, kLine));
  EXPECT_FALSE(first_probability({{"content", nullptr}}, kLine));
  EXPECT_FALSE(first_probability({{"content", nlohmann::json::array()}}, kLine));
  EXPECT_FALSE(first_probability({{"content", {7}}}, kLine));
  EXPECT_FALSE(first_probability({{"content", {token("Verdict: 12", 1)}}}, kLine));
  EXPECT_FALSE(first_probability({{"content", {token("Verdict:", 1), token(" 1", 0.3, {{" 2", 0.1}})}}}, kLine))
      << "0.4 of the probability";
  EXPECT_TRUE(first_probability({{"content", {token("Verdict:", 1), token(" 1", 0.3, {{" 2", 0.25}})}}}, kLine));
  nlohmann::json odd = token(" 1", 0.9);
  odd["logprob"] = "x";
  odd.erase("top_logprobs");
  EXPECT_FALSE(first_probability({{"content", {token("Verdict:", 1), odd}}}, kLine));
}

TEST(FirstProbability, AcceptsTokensWithPartsOfCharacters) {
  nlohmann::json half_1 = token("?", 1), half_2 = token("?", 1);  // "判断：" cut inside a character
  half_1["bytes"] = {0xe5U, 0x88U, 0xa4U, 0xe6U, 0x96U};
  half_2["bytes"] = {0xadU, 0xefU, 0xbcU, 0x9aU};
  EXPECT_NEAR(first_probability({{"content", {half_1, half_2, token("1", 0.8, {{"2", 0.2}})}}}, kLine).value(), 0.8, 1e-9);
  half_1["bytes"] = {300U};
  EXPECT_FALSE(first_probability({{"content", {half_1, half_2, token("1", 0.8)}}}, kLine));
}

}  // namespace
}  // namespace dmoerm::judge
