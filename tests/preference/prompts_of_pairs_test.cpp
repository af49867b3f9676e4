// Where the prompt of a pair stands, and rows in which it is not what the responses begin with.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "preference/formats.h"
#include "preference/row_error.h"
#include "preference/rows.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;
using test::prompt_of;
using test::read;

/// The group of a row as the reader unpacks it.
Group read_row(const std::string& row) {
  const json value = parse_row(row);
  const Format* format = detect_format(value);
  EXPECT_NE(format, nullptr) << row;
  return format == nullptr ? Group() : format->parse(value);
}

std::string refusal(const char* row) {
  const json value = json::parse(row);
  const Format* format = detect_format(value);
  if (format == nullptr) return "no format";
  try {
    format->parse(value);
  } catch (const RowError& e) {
    return (e.bad() ? "bad: " : "unusable: ") + std::string(e.what());
  }
  return "";
}

/// A pair about "What is 2+2?" whose responses share their first words, with more columns: {"problem": "What is 2+2?", ...}.
std::string pair_with(const std::string& more) {
  return "{" + more + R"(,"chosen":"The answer is 4, as 2+2=4.","rejected":"The answer is 5, I think."})";
}

TEST(PromptsOfPairs, TakesNoSharedWordsForThePromptThatAnotherColumnHolds) {
  for (const char* more : {R"("problem":"2+2")", R"("user":"What is 2+2?")", R"("message":"What is 2+2?")", R"("post":"2+2?")",
                           R"("task":"What is 2+2?")", R"("inputs":"2+2?")", R"("source":"What is 2+2?")", R"("dialogue":"2+2?")",
                           R"("user_prompt":"Add 2")", R"("human":"2+2")", R"("body":"Please add 2 and 2.")",
                           R"("frage":"请告诉我二加二是多少")", R"("turns":[{"role":"user","content":"2+2?"}])",
                           R"("turn":{"from":"human","value":"2+2?"})", R"("prompt":null,"text":"What is 2+2?")"}) {
    const std::string said = refusal(pair_with(more).c_str());
    EXPECT_NE(said.find("which seems to hold it: rename it to \"prompt\""), std::string::npos) << more << " gives " << said;
  }
  EXPECT_EQ(refusal(pair_with(R"("prompt":null)").c_str()), "bad: \"prompt\": expected a text or messages, found null");
  const char* const alone = R"({"system":"S","chosen":[{"role":"assistant","content":"It is 4"}],
      "rejected":[{"role":"assistant","content":"It is 5"}]})";
  EXPECT_NE(refusal(alone).find("a message of the assistant alone"), std::string::npos);
  for (const char* more :
       {R"("id":7)", R"("source":"Anthropic HH RLHF")", R"("dataset":"magpie ultra v1")", R"("user":"u123")",
        R"("task":"Math_CoT")", R"("comment":"Why would anybody say this?")", R"("chosen_model":"gpt 4 of May")",
        R"("explanation":"The first one is right.")", R"("answer":"It is four, of course.")", R"("asked":"The answer is")",
        R"("annotator_notes":"Neither of them is bad.")", R"("reason":"It is right, you know.")",
        R"("source_title":"A Book of Sums")", R"("reviewer_remarks":"I had to think.")", R"("message":"")",
        R"("url":"https://x.org/a?")", R"("n":[1,2],"more":{"a":"b c d"})", R"("difficulty":"very hard")"}) {
    const std::string row = pair_with(more);
    EXPECT_EQ(prompt_of(read("standard-implicit", row.c_str())), "user: The answer is") << more;
  }
}

TEST(PromptsOfPairs, GuessesNothingWhereTheFormatIsNamed) {
  const std::string row = pair_with(R"("opinions":"Both of them are wrong.")");
  EXPECT_NE(refusal(row.c_str()).find("say so with the format standard-implicit (data.inputs[].format)"), std::string::npos)
      << refusal(row.c_str());
  const Format& format = format_by_name("standard-implicit");
  EXPECT_EQ(prompt_of(parse_group(format, parse_row(row), true)), "user: The answer is");
  EXPECT_THROW(parse_group(format, parse_row(row)), RowError) << "the row alone says nothing";
}

TEST(PromptsOfPairs, ReadsTranscriptsWithoutTheirFirstLineEnds) {
  const std::string expected = "user: a | assistant: b | user: c";
  EXPECT_EQ(prompt_of(read("standard-implicit", R"({"chosen":"Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
                                                    "rejected":"Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: e"})")),
            expected);
  EXPECT_EQ(prompt_of(read("standard",
                           R"({"prompt":"Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:","chosen":"d","rejected":"e"})")),
            expected);
  EXPECT_EQ(prompt_of(read("standard", R"({"prompt":"\r\n\r\nHuman: a\r\n\r\nAssistant: b\r\n\r\nHuman: c\r\n\r\nAssistant:",
                                           "chosen":"d","rejected":"e"})")),
            expected);
  EXPECT_EQ(prompt_of(read("standard", R"({"prompt":"Human: a","chosen":"d","rejected":"e"})")), "user: Human: a");
  EXPECT_EQ(prompt_of(read("standard", R"({"prompt":"A Human: x\n\nAssistant: y","chosen":"d","rejected":"e"})")),
            "user: A Human: x\n\nAssistant: y");
}

TEST(PromptsOfPairs, ReadsTheTurnsOfHelpSteer) {
  const auto prompt_in = [](const char* prompt) {
    return prompt_of(read("helpsteer", fmt::format(R"({{"prompt":"{}","response":"r","helpfulness":4}})", prompt).c_str()));
  };
  EXPECT_EQ(prompt_in(R"(Hi\n<extra_id_1>Assistant\nYo\nMan\n<extra_id_1>User\nName a fruit.)"),
            "user: Hi | assistant: Yo\nMan | user: Name a fruit.");
  EXPECT_EQ(prompt_in(R"(<extra_id_0>System\nBe kind.\n<extra_id_1>User\nHi\n<extra_id_1>Assistant\n)"),
            "system: Be kind. | user: Hi");
  EXPECT_EQ(prompt_in(R"(What is <extra_id_1>User\n in T5?)"), "user: What is <extra_id_1>User\n in T5?");
  EXPECT_EQ(prompt_of(read("helpsteer-preference", R"({"prompt":"Hi\n<extra_id_1>Assistant\nYo\n<extra_id_1>User\nWell",
                                                       "response_1":"a","response_2":"b","preference_strength":-2})")),
            "user: Hi | assistant: Yo | user: Well");
}

TEST(PromptsOfPairs, FindsThePromptInMessagesAndTrajectories) {
  const std::string expected = "user: What is 2+2?";
  EXPECT_EQ(prompt_of(read("conversational", pair_with(R"("messages":[{"role":"user","content":"What is 2+2?"}])").c_str())),
            expected);
  EXPECT_EQ(prompt_of(read("conversational",
                           pair_with(R"("trajectory":[{"from":"user","value":"What is 2+2?"}],"task":"Math_CoT")").c_str())),
            expected);
  EXPECT_EQ(prompt_of(read("standard", pair_with(R"("conversation":"What is 2+2?")").c_str())), expected);
  const char* const axolotl = R"({"messages":[{"role":"user","content":"What is 2+2?"}],
      "chosen":{"role":"assistant","content":"It is 4"},"rejected":[{"role":"assistant","content":"It is 5"}]})";
  EXPECT_EQ(prompt_of(read("conversational", axolotl)), expected);
  const char* const whole = R"({"messages":[{"role":"user","content":"other"}],
      "chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
      "rejected":[{"role":"user","content":"Hi"},{"role":"assistant","content":"b"}]})";
  EXPECT_EQ(prompt_of(read("conversational", whole)), "user: Hi") << "a whole conversation needs no other column";
  for (const char* prompt :
       {R"({"role":"user","content":"What is 2+2?"})", R"({"messages":[{"role":"user","content":"What is 2+2?"}]})"})
    EXPECT_EQ(prompt_of(read_row(pair_with(fmt::format("\"prompt\":{}", prompt)))), expected) << prompt;
}

TEST(PromptsOfPairs, TakesAnAnswerThatThePromptEndsWithOffIt) {
  const auto prompt_with = [](const char* last) {
    return prompt_of(
        read("conversational", fmt::format(R"({{"conversations":[{{"from":"human","value":"q"}},{{"from":"gpt","value":"{}"}}],
        "chosen":"a","rejected":"b"}})",
                                           last)
                                   .c_str()));
  };
  EXPECT_EQ(prompt_with("a"), "user: q");
  EXPECT_EQ(prompt_with("b "), "user: q");
  EXPECT_EQ(prompt_with("c"), "user: q | assistant: c");
}

TEST(PromptsOfPairs, RefusesNamesInPlaceOfTexts) {
  for (const char* row :
       {R"({"prompt":"q","chosen":"response_a","rejected":"response_b","response_a":"x","response_b":"y"})",
        R"({"prompt":"q","chosen":"a","rejected":"b","response_a":"x","response_b":"y"})",
        R"({"prompt":"q","chosen":"Model B","rejected":"Model A","response_a":"x","response_b":"y"})",
        R"({"prompt":"q","chosen":"1","rejected":"2","output_1":"x","output_2":"y"})",
        R"({"prompt":"q","model_a":"m1","model_b":"m2","output_a":"x","output_b":"y","chosen":"m1","rejected":"m2"})"}) {
    const std::string said = refusal(row);
    EXPECT_NE(said.find("found the names"), std::string::npos) << row << " gives " << said;
  }
  for (const char* row :
       {R"({"prompt":"A or B?","chosen":"A","rejected":"B","A":"cat","B":"dog","option_a":"cat","option_b":"dog"})",
        R"({"prompt":"q","chosen":"x","rejected":"y","response_a":"x","response_b":"y"})",
        R"({"prompt":"q","chosen":"m1","rejected":"no","model_a":"m1","model_b":"m2"})"})
    EXPECT_EQ(refusal(row), "") << row;
}

TEST(PromptsOfPairs, KnowsTheSplitsOfTheHub) {
  for (const auto& [word, split] : {std::pair("train_prefs", Split::train),
                                    {"Train", Split::train},
                                    {"test_prefs", Split::test},
                                    {"TEST", Split::test},
                                    {"Validation", Split::validation},
                                    {"eval", Split::validation},
                                    {"", Split::unset},
                                    {" ", Split::unset}})
    EXPECT_EQ(read("standard", fmt::format(R"({{"prompt":"p","chosen":"a","rejected":"b","split":"{}"}})", word).c_str()).split,
              split)
        << word;
  EXPECT_NE(refusal(R"({"prompt":"p","chosen":"a","rejected":"b","split":"training_ground"})").find("expected train"),
            std::string::npos);
  EXPECT_EQ(prompt_of(read("standard", R"({"prompt":"p","history":"","chosen":"a","rejected":"b"})")), "user: p");
}

}  // namespace
}  // namespace dmoerm::preference
