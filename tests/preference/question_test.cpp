#include "preference/question.h"

#include <gtest/gtest.h>

#include "preference/row_error.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;

TEST(Question, MessagesMayEndWithTheResponse) {
  const Question q = question_of(json::parse(R"({"id": 3, "system": "S", "messages": [{"role": "user", "content": "Q"},
    {"role": "assistant", "content": "A"}]})"));
  ASSERT_EQ(q.prompt.size(), 2U);
  EXPECT_EQ(q.prompt[0].content, "S");
  EXPECT_EQ(q.responses, std::vector<std::string>{"A"});
  EXPECT_EQ(q.id, 3);
}

TEST(Question, MessagesMayStandBeforeResponses) {
  const Question q = question_of(json::parse(R"({"messages": [{"role": "user", "content": "Q"}], "responses": ["A", "B"]})"));
  EXPECT_EQ(q.prompt[0].content, "Q");
  EXPECT_EQ(q.responses.size(), 2U);
}

TEST(Question, MessagesWithoutAPromptOrAResponseAreRefused) {
  for (const char* row :
       {R"({"messages": [{"role": "assistant", "content": "A"}]})", R"({"messages": [{"role": "user", "content": "Q"}]})",
        R"({"messages": []})", R"({"prompt": "Q"})", "5"})
    EXPECT_THROW((void)question_of(json::parse(row)), RowError) << row;
}

TEST(Question, RefusalsNameTheKeyThatTheRowHas) {
  const auto said = [](const char* row) -> std::string {
    try {
      (void)question_of(json::parse(row));
    } catch (const RowError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(said(R"({"prompt": 5, "responses": ["A"]})"), "\"prompt\": expected a text or a list of messages, found 5");
  EXPECT_TRUE(said(R"({"messages": [{"role": "user"}], "response": "A"})").starts_with("\"messages\": expected messages"));
  EXPECT_EQ(said(R"({"prompt": "Q", "responses": [null]})"), "\"responses\": expected texts, found [null]");
  EXPECT_EQ(said(R"({"prompt": "Q", "responses": [1, 2]})"), "\"responses\": expected texts, found [1,2]");
  EXPECT_EQ(said(R"({"prompt": "Q", "responses": [["A"]]})"), "\"responses\": expected texts, found [[\"A\"]]");
  EXPECT_EQ(said(R"({"prompt": "Q", "responses": {"text": "A"}})"), "\"responses\": expected texts, found {\"text\":\"A\"}");
  EXPECT_EQ(said(R"({"prompt": "Q", "response": ["A", "B"]})"),
            "\"response\": expected one text, found [\"A\",\"B\"]; several stand under \"responses\"");
  EXPECT_EQ(said(R"({"prompt": "Q", "response": 5})"), "\"response\": expected one text, found 5");
  EXPECT_EQ(said(R"({"prompt": "Q", "response": []})"), "\"response\": expected one text, found []");
  EXPECT_NE(said(R"({"prompt": "Q", "answer": "A"})").find("found the keys answer, prompt"), std::string::npos);
}

}  // namespace
}  // namespace dmoerm::preference
