// Texts that are messages as some program prints them, and texts that only look like them.
#include "preference/printed_messages.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "preference/formats.h"
#include "preference/row_error.h"
#include "preference/rows.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;
using test::read;

std::string read_chosen(const json& text) { return read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}); }

TEST(PrintedMessages, OfPythonAreRefusedWhateverTheirFirstKey) {
  for (const char* text :
       {"[{'index': 0, 'role': 'user', 'content': 'Hi'}, {'index': 0, 'role': 'assistant', 'content': \"It's\"}]",
        "{'loss': None, 'from': 'gpt', 'value': 'x'}", "[{'name': None, 'refusal': None, 'role': 'user', 'content': 'Hi'}]",
        "[{'speaker': 'user', 'text': 'Hi'}, {'speaker': 'assistant', 'text': 'Yo'}]",
        "[{'meta': {'a': [1, 'x']}, 'content': 'Hi', 'role': 'user'}\n {'meta': {}, 'content': 'Yo', 'role': 'assistant'}]",
        "[{'index': 0, 'role': 'user', 'content': 'Hi'}, {'index': 0, 'ro",
        "role='assistant' content='Ice' thinking=None images=None tool_calls=None",
        "content=\"It's\" role='assistant' refusal=None",
        "RequestOutput(request_id=0, prompt='Q', outputs=[CompletionOutput(index=0, text=' a', token_ids=(1, 2))])",
        "ChatCompletion(id='x', choices=[Choice(message=ChatCompletionMessage(content='a', role='assistant'))])",
        "parts {\n  text: \"Ice\"\n}\nrole: \"model\"\n"}) {
    EXPECT_EQ(read_chosen(text), "bad messages-printed-by-python") << text;
    EXPECT_EQ(read({{"prompt", text}, {"chosen", "a"}, {"rejected", "b"}}), "bad messages-printed-by-python") << text;
  }
}

TEST(PrintedMessages, OfOtherProgramsAreRefusedWithTheirName) {
  for (const auto& [text, printer] : {std::pair("[{'content': Hi, 'role': user}]", "DuckDB"),
                                      {"[{'content': Hi, you, 'role': user}, {'content': Yo, 'role': assistant}]", "DuckDB"},
                                      {"[{user, Hi}, {assistant, Yo, you}]", "Spark"},
                                      {"[{Hi, you, user}, {Yo, assistant}]", "Spark"},
                                      {"[{role=user, content=Hi}]", "Java"},
                                      {"{content=Hi, you, role=assistant}", "Java"},
                                      {"[ { role: 'user', content: 'Hi' } ]", "JavaScript"},
                                      {"[\n  { content: \"It's\", role: 'assistant' }\n]", "JavaScript"},
                                      {"[object Object]", "JavaScript"},
                                      {"[object Object],[object Object]", "JavaScript"}}) {
    EXPECT_EQ(read_chosen(text), "bad messages-printed-by-program") << text;
    const Printer* found = printer_of_messages(text);
    ASSERT_NE(found, nullptr) << text;
    EXPECT_NE(std::string(found->name).find(printer), std::string::npos) << text << " " << found->name;
  }
}

TEST(PrintedMessages, InDamagedJsonAreRefusedWhateverTheirFirstKey) {
  for (const char* text :
       {R"([{"index": 0, "role": "user", "content": "Hi"}, {"index": 1, "role": "assistant", "cont)",
        R"([{""role"": ""user"", ""content"": ""Hi""}])", R"([{""index"": 0, ""role"": ""user"", ""content"": ""Hi""}])",
        R"({"loss": null, "from": "gpt", "value": "a)"})
    EXPECT_EQ(read_chosen(text), "bad messages-not-json") << text;
}

TEST(PrintedMessages, StayTextsWhereMoreStandsInTheText) {
  for (const char* text : {"What does [{'index': 0, 'role': 'user', 'content': 'Hi'}] print?",
                           "[{'index': 0, 'role': 'user', 'content': 'Hi'}] is Python.",
                           "x = [{'index': 0, 'role': 'user', 'content': 'Hi'}]",
                           "{'name': 'Bob', 'age': 3}",
                           "{'role': 'admin', 'name': 'Bob', 'rights': []}",
                           "{'user': 'Bob', 'content': 'x'}",
                           "role='assistant' is a keyword.",
                           "role='assistant' content='a' and more",
                           "RequestOutput(text='a') is a class",
                           "Completion('x')",
                           "parts { text: \"a\" }",
                           "[{role=user, content=Hi}] in Java",
                           "{role=user}",
                           "{a=1, content=Hi}",
                           "[{1, 2}, {3, 4}]",
                           "[{user, Hi}, {admin, Yo}]",
                           "{user, admin}",
                           "[{x, y}]",
                           "const a = [ { role: 'user', content: 'Hi' } ];",
                           "{ name: 'user', content: 'Hi' }",
                           "{ role: 'button', content: 'OK' }",
                           "It prints [object Object].",
                           "[object Object] is a text",
                           "[{'content': Hi}]",
                           "{'role': user}",
                           R"({"name": "x", "role": "user"})",
                           R"([{"name": "x", "role": "user"})",
                           R"({"model": "m", "messages": [{"role": "user", "content": "a)",
                           "[{'from': 'Berlin', 'to': 'Rome', 'value': 3}]",
                           R"([{"text": "Hi", "speaker": "user", "intent": "gr)",
                           "Content(text='Hello')",
                           "Choice(text=\"a\", size=3)",
                           "He said [{''role'': ''user''}]"})
    EXPECT_EQ(read_chosen(text), std::string("user: Q -> ") + text + " | b |");
}

TEST(PrintedMessages, AreReadBesideMarksInPipelinesAndPackedTwice) {
  const json turns{{{"role", "user"}, {"content", "Q"}}, {{"role", "assistant"}, {"content", "a"}}};
  const json answer{{{"role", "assistant"}, {"content", "a"}}};
  const json generated{{{"generated_text", turns}}};
  const auto is_read = [](const json& chosen) {
    EXPECT_EQ(read({{"prompt", {{{"role", "user"}, {"content", "Q"}}}}, {"chosen", chosen}, {"rejected", "b"}}),
              "user: Q -> a | b |")
        << chosen;
  };
  const json other{{{"role", "user"}, {"content", "Q"}}, {{"role", "assistant"}, {"content", "b"}}};
  EXPECT_EQ(read({{"chosen", json{{"id", "x"}, {"messages", turns}}.dump()},
                  {"rejected", json{{"source", "s"}, {"messages", other}}.dump()}}),
            "user: Q -> a | b |");
  EXPECT_EQ(read({{"chosen", generated.dump()}, {"rejected", other.dump()}}), "user: Q -> a | b |");
  is_read(json{{{"role", "assistant"}, {"content", answer.dump()}}});
  is_read(json{{{"from", "gpt"}, {"value", answer[0].dump()}}});
  EXPECT_EQ(read_chosen(json{{{"role", "assistant"}, {"content", "[{'role': 'assistant', 'content': 'a'}]"}}}),
            "bad messages-printed-by-python");
  const std::string two = turns.dump();
  EXPECT_EQ(read_chosen(json{{{"role", "assistant"}, {"content", two}}}), "user: Q -> " + two + " | b |")
      << "an answer may speak of messages";
}

}  // namespace
}  // namespace dmoerm::preference
