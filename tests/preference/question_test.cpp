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

}  // namespace
}  // namespace dmoerm::preference
