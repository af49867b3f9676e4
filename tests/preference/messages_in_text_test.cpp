// Conversations that a row holds as text, and texts that only look like one.
#include "preference/messages_in_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "preference/formats.h"
#include "preference/formats_of_pairs.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "preference/rows.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;
using test::read;

constexpr const char* kTurns = R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}])";
constexpr const char* kOther = R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"No"}])";

TEST(MessagesInText, AreUnpackedWhereverAPromptOrResponseStands) {
  const std::string expected = "user: Hi -> Hello | No |";
  const auto turn = [](const char* text) { return json{{"role", "assistant"}, {"content", text}}.dump(); };
  const auto list = [](const char* text) { return json{{{"from", "gpt"}, {"value", text}}}.dump(); };
  const std::string hi = R"( [{"role": "user", "content": "Hi"}] )";
  EXPECT_EQ(read({{"chosen", kTurns}, {"rejected", kOther}}), expected);
  EXPECT_EQ(read({{"prompt", "Hi"}, {"chosen", kTurns}, {"rejected", kOther}}), expected);
  EXPECT_EQ(read({{"prompt", hi}, {"chosen", turn("Hello")}, {"rejected", turn("No")}}), expected);
  EXPECT_EQ(read({{"prompt", hi}, {"chosen", "Hello"}, {"rejected", list("No")}}), expected);
  EXPECT_EQ(read({{"messages", kTurns}, {"rejected_response", "No"}}), expected);
  EXPECT_EQ(read({{"messages", kTurns}, {"rejected_response", kOther}}), expected);
  EXPECT_EQ(read({{"conversations", hi}, {"chosen", list("Hello")}, {"rejected", list("No")}}), expected);
  EXPECT_EQ(read({{"conversation_a", kTurns}, {"conversation_b", kOther}, {"winner", "model_a"}}), expected);
  EXPECT_EQ(read({{"prompt", hi}, {"responses", {{{"text", turn("Hello")}}, {{"text", list("No")}}}}}), expected);
  EXPECT_EQ(read({{"prompt", hi}, {"response_1", turn("Hello")}, {"response_2", "No"}, {"preference_strength", -1}}), expected);
  EXPECT_EQ(read({{"prompt", hi}, {"answers", {{{"answer", turn("Hello")}, {"rank", 1}}, {{"answer", "No"}, {"rank", 2}}}}}),
            expected);
  EXPECT_EQ(read({{"chosen", json(kTurns).dump()}, {"rejected", json{{"messages", json::parse(kOther)}}.dump()}}), expected)
      << "a string that was written twice, and an object around the list";
  EXPECT_EQ(read({{"chosen", {R"({"role":"user","content":"Hi"})", turn("Hello")}}, {"rejected", kOther}}), expected)
      << "a list of texts";
  EXPECT_EQ(read({{"prompt", {{{"role", "user"}, {"content", R"([{"type":"text","text":"Hi"}])"}}}},
                  {"chosen", "Hello"},
                  {"rejected", "No"}}),
            expected)
      << "parts of a message";
  EXPECT_EQ(parse_unlabelled(parse_row(json{{"prompt", hi}, {"response", turn("a")}}.dump())).responses.at(0).text, "a");
}

TEST(MessagesInText, AreReadUnderOtherUsualNames) {
  const std::string expected = "user: Hi -> Hello | No |";
  const json gemini{{{"role", "user"}, {"parts", {{{"text", "Hi"}}}}}, {{"role", "model"}, {"parts", {"Hello"}}}};
  const json speakers{{{"speaker", "Human"}, {"text", "Hi"}}, {{"speaker", "AI"}, {"text", "No"}}};
  const json mixed{{{"from", "human"}, {"content", "Hi"}}, {{"role", "assistant"}, {"value", "No"}}};
  for (const json& rejected : {speakers, mixed}) {
    EXPECT_EQ(read({{"chosen", gemini}, {"rejected", rejected}}), expected);
    EXPECT_EQ(read({{"chosen", gemini.dump()}, {"rejected", rejected.dump()}}), expected);
  }
  EXPECT_EQ(read({{"prompt", R"([{"role": "user", "parts": [{"text": "Hi"}]}])"}, {"chosen", "Hello"}, {"rejected", "No"}}),
            expected);
  const json hamlet{{{"speaker", "Hamlet"}, {"text", "To be"}}};
  EXPECT_EQ(read({{"prompt", "Hi"}, {"chosen", hamlet.dump()}, {"rejected", "No"}}), "user: Hi -> " + hamlet.dump() + " | No |");
  EXPECT_EQ(read({{"prompt", "Hi"},
                  {"responses", {{{"role", "assistant"}, {"text", "Hello"}, {"overall", 1}}, {{"text", "No"}, {"overall", 0}}}}}),
            expected)
      << "a response may say whose it is";
}

TEST(MessagesInText, PartsOfATextAreItsText) {
  const auto parts = [](const char* text) { return json{{{"type", "text"}, {"text", text}}}; };
  const json image{{{"type", "text"}, {"text", "Hi"}}, {{"type", "image_url"}, {"image_url", {{"url", "a.png"}}}}};
  const std::string expected = "user: Hi -> Hello | No |";
  EXPECT_EQ(read({{"prompt", parts("Hi").dump()}, {"chosen", parts("Hello").dump()}, {"rejected", "No"}}), expected);
  EXPECT_EQ(read({{"prompt", parts("Hi")}, {"chosen", parts("Hello")}, {"rejected", parts("No")}}), expected);
  for (const json& prompt : {image, json(image.dump())})
    EXPECT_EQ(read({{"prompt", prompt}, {"chosen", "a"}, {"rejected", "b"}}), "dropped part-is-not-text");
  EXPECT_EQ(read({{"prompt", "Hi"},
                  {"responses",
                   {{{"type", "text"}, {"text", "Hello"}, {"overall", 1}}, {{"type", "text"}, {"text", "No"}, {"overall", 0}}}}}),
            expected)
      << "a list of responses is no list of parts";
}

TEST(MessagesInText, PartsAreReadTheSameWhereverTheyStand) {
  const std::string hello = R"([{"type": "text", "text": "Hello"}])";
  const std::string image = R"([{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": "a.png"}}])";
  const std::string thought = R"([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hello"}])";
  const auto places = [](const std::string& text) {
    const json turn{{"role", "assistant"}, {"content", text}};
    return std::vector<json>{{{"prompt", "Hi"}, {"chosen", text}, {"rejected", "No"}},
                             {{"prompt", "Hi"}, {"chosen", {turn}}, {"rejected", "No"}},
                             {{"prompt", "Hi"}, {"responses", {{{"text", text}}, {{"text", "No"}}}}},
                             {{"prompt", "Hi"}, {"response_1", text}, {"response_2", "No"}, {"preference_strength", 0}}};
  };
  const std::string printed = "[{'type': 'text', 'text': 'Hello'}]";
  for (const json& row : places(hello)) EXPECT_EQ(read(row), "user: Hi -> Hello | No |") << row;
  for (const json& row : places(image)) EXPECT_EQ(read(row), "dropped part-is-not-text") << row;
  for (const json& row : places(thought)) {
    EXPECT_EQ(read(row), "user: Hi -> Hello | No |") << row;
    const json unpacked = parse_row(row.dump());
    EXPECT_EQ(parse_group(*detect_format(unpacked), unpacked).unread, std::vector<std::string>{kReasoningPart}) << row;
  }
  for (const json& row : places(R"([{"type": "thinking", "thinking": "Hm"}, {"type": "tool_use", "name": "w"}])"))
    EXPECT_EQ(read(row), "dropped part-is-not-text") << row;
  for (const json& row : places(printed)) EXPECT_EQ(read(row), "bad messages-printed-by-python") << row;
  const auto of_list = [](const json& text) {
    return parse_unlabelled(parse_row(json{{"prompt", "a"}, {"responses", {text, "b"}}}.dump())).responses.at(0).text;
  };
  EXPECT_EQ(of_list(hello), "Hello");
  EXPECT_EQ(of_list(json::parse(hello)), "Hello");
  EXPECT_THROW(of_list(image), RowError);
  EXPECT_THROW(of_list(printed), RowError);
  for (const char* text :
       {"[{'text': \"It's\", 'type': 'text'}]", "[{'type': 'text', 'text': 'a'}\n {'type': 'text', 'text': 'b'}]",
        "array([{'type': 'text', 'text': 'a', 'image_url': None}], dtype=object)", "({'type': 'input_text', 'text': 'a'},)",
        "[{'annotations': [], 'text': 'a', 'type': 'output_text'}]", "[{'type': 'image_url', 'image_url': {'url': 'a.png'}}]",
        "[TextBlock(citations=None, text='a', type='text')]", "TextBlock(text=\"It's\", type='text')",
        "[{'type': 'text', 'text': 'cut of"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}), "bad messages-printed-by-python") << text;
  for (const char* text :
       {"[{'type': 'text', 'text': 'a'}] is a list of parts.", "Write [{'type': 'text', 'text': 'a'}]", "[{'type': 'circle'}]",
        "{'type': 'text', 'size': 3}", "[{'type': 'text', 'name': 'x'}]", "TextBlock(text='a') is a class",
        R"([{"type": "text", "name": "x"}])", R"([{"type": "file", "name": "a.txt"}])", R"([{"type": "tool_use", "id": 3}])"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}), std::string("user: Q -> ") + text + " | b |");
}

TEST(MessagesInText, StayTextsIfTheyOnlyContainOrResembleThem) {
  for (const char* text :
       {R"({"name": "Bob", "age": 3})", R"([{"name": "role"}, {"name": "content"}])", R"(["role", "user"])", "[1, 2]", "{}", "[]",
        R"([{"role": "user", "content": "Hi"}] is how a list of messages looks.)",
        R"(Send [{"role": "user", "content": "Hi"}] to the server.)", R"([{"role": "Hamlet", "content": "To be"}])",
        R"([{"role": "user", "rights": ["read"]}, {"role": "admin", "rights": []}])", R"([{"from": "Berlin", "value": 3}])",
        R"({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})", "[{'role': 'user', 'content': 'Hi'}] is Python.",
        "{'from': 'Berlin', 'value': 3}", "[{'name': 'Bob'}]", "{role: user}", "[", "{\"",
        R"([{"type": "PERSON", "text": "Bob"}])"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "No"}}), std::string("user: Q -> ") + text + " | No |");
  EXPECT_EQ(read({{"instruction", "Sum up"}, {"input", kTurns}, {"chosen", "a"}, {"rejected", "b"}}),
            std::string("user: Sum up\n") + kTurns + " -> a | b |")
      << "the input is what the instruction is about";
  EXPECT_EQ(read({{"prompt", {{{"role", "user"}, {"content", kTurns}}}}, {"chosen", "a"}, {"rejected", "b"}}),
            std::string("user: ") + kTurns + " -> a | b |")
      << "a message may speak of messages";
}

TEST(MessagesInText, AreRefusedIfPythonPrintedThemOrTheyAreDamaged) {
  for (const char* text :
       {"[{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': \"It's\"}]",
        "[{'content': 'Hi', 'role': 'user'}\n {'content': 'Hello', 'role': 'assistant'}]", "{'from': 'gpt', 'value': 'a'}",
        "array([{'role': 'user', 'content': 'Hi'}], dtype=object)", "Message(role='assistant', content='good')",
        "ChatCompletionMessage(content=\"It's\", refusal=None, role='assistant', tool_calls=None)",
        "[HumanMessage(content='Hi', additional_kwargs={}), AIMessage(content='Hello')]",
        "content='Hello' additional_kwargs={} response_metadata={}", "[{'role': 'user', 'content': 'Hi'}, {'role': 'assi"}) {
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "No"}}), "bad messages-printed-by-python") << text;
    EXPECT_EQ(read({{"prompt", text}, {"chosen", "a"}, {"rejected", "No"}}), "bad messages-printed-by-python") << text;
  }
  for (const char* text :
       {R"([{"role": "user", "content": "Hi"}, {"role": "assi)", "[{\"role\": \"user\", \"content\": \"a\nb\"}]",
        R"([{"role": "user", "content": "Hi"},])", R"({"from": "gpt", "value": "a)"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "No"}}), "bad messages-not-json") << text;
}

TEST(MessagesInText, AreReadFromRepliesAndListsOfAnswers) {
  const json reply{{"id", "1"},
                   {"object", "chat.completion"},
                   {"choices", {{{"index", 0}, {"message", {{"role", "assistant"}, {"content", "a"}}}}}}};
  EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", reply.dump()}, {"rejected", "b"}}), "user: Q -> a | b |");
  const json answers{{{"text", "a"}, {"overall", 2}}, {{"text", "b"}, {"overall", 1}}};
  EXPECT_EQ(read({{"prompt", "Q"}, {"responses", answers.dump()}}), "user: Q -> a | b |");
  EXPECT_EQ(read({{"prompt", "Q"}, {"responses", "[{'text': 'a'}]"}}), "bad messages-printed-by-python");
  EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", "Write Message(role='x')"}, {"rejected", "b"}}),
            "user: Q -> Write Message(role='x') | b |");
}

TEST(MessagesInText, AreReadFromLinesAndBehindMarks) {
  const std::string lines = R"({"role": "system", "content": "S"})"
                            "\n"
                            R"({"role": "user", "content": "Q"})"
                            "\n";
  EXPECT_EQ(read({{"prompt", lines}, {"chosen", "a"}, {"rejected", "b"}}), "system: S user: Q -> a | b |");
  EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", "\ufeff[{\"role\": \"assistant\", \"content\": \"a\"}]"}, {"rejected", "b"}}),
            "user: Q -> a | b |");
  EXPECT_EQ(read({{"prompt", "Q"}, {"system", R"({"role": "system", "content": "S"})"}, {"chosen", "a"}, {"rejected", "b"}}),
            "system: S user: Q -> a | b |");
  EXPECT_EQ(read({{"prompt", "Q"}, {"history", R"([["p", "o"]])"}, {"chosen", "a"}, {"rejected", "b"}}),
            "user: p assistant: o user: Q -> a | b |");
  for (const char* text : {R"([{\"role\": \"assistant\", \"content\": \"a\"}])", "[{&quot;role&quot;: &quot;user&quot;}]",
                           R"([{"role": "assistant", "content": "a"}, null])"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}), "bad messages-not-json") << text;
  for (const char* text : {R"(b'[{"role": "assistant", "content": "a"}]')",
                           "OrderedDict([('role', 'assistant'), ('content', 'a')])", "[('role', 'user'), ('content', 'a')]"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}), "bad messages-printed-by-python") << text;
  for (const char* text : {"{\"a\": 1}\n{\"b\": 2}", "b'abc'", "[null]", "{\"role\": \"assistant\"}\nmore"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}), std::string("user: Q -> ") + text + " | b |");
}

TEST(ToolUse, IsDroppedWhateverSaysIt) {
  for (const char* role : {"tool", "function", "ipython", "function_call", "observation", "tool_response", "environment", "Tool",
                           "tool_use", "plugin"})
    EXPECT_EQ(read({{"prompt", {{{"role", "user"}, {"content", "Q"}}, {{"role", role}, {"content", "42"}}}},
                    {"chosen", "a"},
                    {"rejected", "b"}}),
              "dropped tool-role-in-message")
        << role;
  EXPECT_EQ(read({{"prompt", {{{"role", "assistant"}, {"tool_calls", {{{"id", 1}}}}}}}, {"chosen", "a"}, {"rejected", "b"}}),
            "dropped row-with-tools")
      << "without a content";
  EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", "a"}, {"rejected", "b"}, {"tools", R"([{"name": "add"}])"}}),
            "dropped row-with-tools");
  EXPECT_EQ(read({{"prompt", {{{"role", "developer"}, {"content", "S"}}, {{"role", "user"}, {"content", "Q"}}}},
                  {"chosen", "a"},
                  {"rejected", "b"},
                  {"tools", "[]"}}),
            "system: S user: Q -> a | b |");
}

TEST(ToolUse, InPartsItemsAndOtherRolesDropsTheRowAlone) {
  const auto behind = [](const json& more) {
    json prompt{{{"role", "user"}, {"content", "Q"}}};
    prompt.push_back(more);
    return read({{"prompt", prompt}, {"chosen", "a"}, {"rejected", "b"}});
  };
  for (const json& part : {json{{"functionCall", {{"name", "w"}, {"args", json::object()}}}},
                           {{"functionResponse", {{"name", "w"}}}},
                           {{"inlineData", {{"mimeType", "image/png"}, {"data", "aGk="}}}},
                           {{"toolUse", {{"toolUseId", "1"}}}},
                           {{"toolResult", {{"toolUseId", "1"}}}}}) {
    EXPECT_EQ(behind({{"role", "model"}, {"parts", {part}}}), "dropped part-is-not-text") << part;
    EXPECT_EQ(behind({{"role", "assistant"}, {"content", {{{"text", "Hm"}}, part}}}), "dropped part-is-not-text") << part;
  }
  EXPECT_EQ(behind({{"role", "model"}, {"parts", {{{"other", "x"}}}}}), "bad missing-key");
  for (const char* type : {"function_call", "function_call_output", "web_search_call", "reasoning"})
    EXPECT_EQ(behind({{"type", type}, {"name", "w"}, {"call_id", "c"}}), "dropped tool-role-in-message") << type;
  for (const char* role : {"tool_results", "tool_responses", "functions.get_weather", "tool:w", "api", "Function Calls"})
    EXPECT_EQ(behind({{"role", role}, {"content", "sun"}}), "dropped tool-role-in-message") << role;
  EXPECT_EQ(behind({{"role", "assistant"}, {"recipient", "functions.w"}, {"content", "{}"}}), "dropped tool-role-in-message");
  EXPECT_EQ(behind({{"role", "user"}, {"recipient", "all"}, {"content", "R"}}), "user: Q user: R -> a | b |");
  EXPECT_EQ(behind({{"role", "apiary"}, {"content", "x"}}), "bad unknown-role");
  EXPECT_EQ(behind({{"role", "CHATBOT"}, {"message", "m"}}), "user: Q assistant: m -> a | b |") << "as Cohere writes it";
}

TEST(Reasoning, InPartsBesideATextIsLeftOutAndNoted) {
  for (const json& part : {json{{"type", "thinking"}, {"thinking", "Hm"}, {"signature", "x"}},
                           {{"type", "redacted_thinking"}, {"data", "x"}},
                           {{"type", "reasoning"}, {"text", "Hm"}},
                           {{"text", "Hm"}, {"thought", true}},
                           {{"reasoningContent", {{"reasoningText", {{"text", "Hm"}}}}}}}) {
    const auto row = [&](const json& content) {
      return json{{"prompt", "Q"}, {"chosen", {{{"role", "assistant"}, {"content", content}}}}, {"rejected", "b"}};
    };
    const json spoken = row({part, {{"type", "text"}, {"text", "a"}}});
    EXPECT_EQ(read(spoken), "user: Q -> a | b |") << part;
    const json unpacked = parse_row(spoken.dump());
    EXPECT_EQ(parse_group(*detect_format(unpacked), unpacked).unread, std::vector<std::string>{kReasoningPart}) << part;
    EXPECT_EQ(read(row(json::array({part}))), "dropped part-is-not-text") << "reasoning alone is no answer";
  }
}

TEST(Media, BesideTheTextDropsTheRow) {
  for (const char* key : {"images", "image", "videos", "video", "audios", "audio", "rejected_images", "image_path", "image_1",
                          "pixel_values", "pictures", "multi_modal_data", "audio_filepath", "input_image", "question_images",
                          "image_data", "image_id", "jpg", "mp4"}) {
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", "a"}, {"rejected", "b"}, {key, {"cat.png"}}}), "dropped row-with-images") << key;
    for (const json& nothing : {json(), json(""), json::array(), json("[]"), json{nullptr}, json{{"path", nullptr}}, json(false)})
      EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", "a"}, {"rejected", "b"}, {key, nothing}}), "user: Q -> a | b |") << nothing;
  }
  for (const char* text : {"<start_of_image>What?",
                           "[IMG]What?",
                           "<img>a.png</img> What?",
                           "<|AUDIO|>",
                           "<IMAGE>What?",
                           "![x](data:image/png;base64,AAAA)",
                           "<IMG_CONTEXT>",
                           "<image_soft_token>",
                           "<image>What is it?",
                           "What is it? <image>",
                           "<video>\nWhat happens?",
                           "<|audio|>",
                           "<image_placeholder>What?",
                           "<im_patch><im_patch> What?",
                           "<speech>What is said?",
                           "[image]\nWhat is this?",
                           "![](images/1.png)\nWhat is this?",
                           "<img src=\"images/1.png\">\nWhat is this?",
                           "<\uff5cimage\uff5c>What?",
                           "(<image>./</image>)\nWhat is it?",
                           "<image></image>What is it?",
                           "<video>./</video>What happens?",
                           "<image_1> or <image 2>",
                           "<|vision_start|><|image_pad|><|vision_end|>"})
    EXPECT_EQ(read({{"prompt", text}, {"chosen", "a"}, {"rejected", "b"}}), "dropped mark-of-image") << text;
  for (const char* text : {"<img src=a>",
                           "<img>",
                           "[img-1]",
                           "The data: images",
                           "url(data:image/svg+xml;utf8,x)",
                           "What is the <video> tag?",
                           "Use `<image>`.",
                           "Write [image]",
                           "[image]",
                           "Use\n[image]\nhere",
                           "![a](https://x.org/1.png)\nThe plot.",
                           "Fix it:\n# Tool\n![build](https://x.org/build.png)\nRuns.",
                           "How does `![a](a.png)` differ from a link?",
                           "```\n![a](a.png)\n```\nWhat is wrong?",
                           "Is ![a](a.png) Markdown?",
                           "<media><item/></media>",
                           "Write XML with a <media> root",
                           "Why does model.predict([[image]]) fail?",
                           "Proofread this:\nAs ![chart](images/chart.png) shows, it grew.",
                           "{image} in a template",
                           "<img src=\"https://x.org/1.png\">\nWhy?",
                           "<img src=\"a\">\nWhy?",
                           "<audio src=x>",
                           "<video><source></video>",
                           "a < b",
                           "<imagery>",
                           "Try:\n```html\n<img>\n<video>\n```",
                           "<video></video>",
                           "In BBCode write [IMG]http://x[/IMG]"})
    EXPECT_EQ(read({{"prompt", text}, {"chosen", "a"}, {"rejected", "b"}}), std::string("user: ") + text + " -> a | b |");
}

TEST(Media, BesideTheTextOfAMessageDropsTheRow) {
  for (const json& attachment : {json{{"type", "pdf"}},
                                 {{"type", "file"}, {"name", "a.pdf"}},
                                 {{"type", "application/pdf"}},
                                 {{"mime_type", "application/pdf"}}})
    EXPECT_EQ(read({{"prompt", {{{"role", "user"}, {"content", "Q"}, {"attachments", {attachment}}}}},
                    {"chosen", "a"},
                    {"rejected", "b"}}),
              "dropped row-with-images")
        << attachment;
}

TEST(Media, InColumnsOfOtherNamesAreKnownByTheirValue) {
  for (const auto& [key, value] : {std::pair("media", json{"cat.png"}),
                                   {"attachments", json{{{"type", "image"}, {"url", "https://x.org/cat.JPG?width=3"}}}},
                                   {"screenshot", json("shots/1.webp")},
                                   {"photo_path", json("cat.jpeg")},
                                   {"files", json{"talk.wav", "a.txt"}},
                                   {"attachments", json{{{"mime_type", "image/png"}, {"file_id", "f"}}}},
                                   {"metadata", json{{"images", {"a.png"}}}},
                                   {"speech", json("a.wav")},
                                   {"image_b64", json("aGk=")},
                                   {"image_base64", json("aGk=")},
                                   {"image_url_2", json("a")},
                                   {"has_image", json(true)},
                                   {"has_image", json("True")},
                                   {"modality", json("image")},
                                   {"modality", json("Image+Text")},
                                   {"modalities", json{"text", "image"}},
                                   {"frames", json{"data:image/png;base64,AAAA"}}})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", "a"}, {"rejected", "b"}, {key, value}}), "dropped row-with-images") << key;
  for (const auto& [key, value] : {std::pair("media", json("The Times")),
                                   {"files", json{"a.py", "b.txt"}},
                                   {"figure", json(3)},
                                   {"source", json("cat.png")},
                                   {"attachments", json{{{"mime_type", "text/plain"}, {"file_id", "f"}}}},
                                   {"metadata", json{{"images", 0}, {"image", "none"}}},
                                   {"speech", json("Four score and seven years ago")},
                                   {"video_id", json("dQw4w9WgXcQ")},
                                   {"document", json("annual-report.pdf")},
                                   {"file", json("lease_2020.pdf")},
                                   {"files", json{{{"type", "file"}, {"path", "src/a.py"}}}},
                                   {"attachments", json{{{"name", "CV.pdf"}, {"text", "I am a nurse"}}}},
                                   {"modality", json("speech therapy")},
                                   {"modality", json("CT image")},
                                   {"modality", json("text-only (no images)")},
                                   {"has_image", json(false)},
                                   {"has_image", json("False")},
                                   {"modality", json("text")},
                                   {"attachments", json::array()}})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", "a"}, {"rejected", "b"}, {key, value}}), "user: Q -> a | b |") << key;
}

TEST(SystemMessages, ThatSayNothingAreLeftOut) {
  for (const json& content : {json(), json(""), json("  ")})
    EXPECT_EQ(read({{"prompt", {{{"role", "system"}, {"content", content}}, {{"role", "user"}, {"content", "Q"}}}},
                    {"chosen", "a"},
                    {"rejected", "b"}}),
              "user: Q -> a | b |");
  EXPECT_EQ(read({{"system", "  "}, {"prompt", "Q"}, {"chosen", "a"}, {"rejected", "b"}}), "user: Q -> a | b |");
  EXPECT_EQ(read({{"prompt", {{{"role", "user"}, {"content", json()}}}}, {"chosen", "a"}, {"rejected", "b"}}),
            "bad field-of-wrong-type");
}

TEST(ToolUse, InTheMarksOfModelFamiliesOrWithoutIsDropped) {
  for (const char* text : {"<function=get>{}</function>", "<function_calls>\n<invoke name=\"x\">", "<invoke name=\"x\">",
                           "functools[{\"name\": \"x\"}]", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function",
                           R"({"name": "get", "arguments": {"city": "X"}})", R"({"name": "get", "parameters": {}})",
                           R"([{"name": "get", "arguments": {"city": "X"}, "id": "1"}])",
                           "Let me look.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>",
                           "Wait:\n<function=get>{}</function>", "You may use\n<tools>\n[{\"type\":\"function\"}]\n</tools>",
                           "I see.\n```tool_code\nf(1)\n```", "[get_weather(city=\"Rome\")]", "[a.find(x=1), put(y='b')]"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}), "dropped tool-call-in-text") << text;
  for (const char* text :
       {R"({"name": "Bob", "parameters": 3})", R"({"name": "f", "arguments": {}, "returns": "int"})",
        "Call {\"name\": \"get\", \"arguments\": {}}", "{\"arguments\"", "[]", "A model writes <tool_call> first.",
        "Like this:\n```\n<tool_call>\n{}\n</tool_call>\n```", "Two marks:\n<tool_call>\nand its end.", "[sorted(x)]", "[f()]",
        "[x for x in f(y=1)]", "[a link](b=c)", "[Smith (x=1)]?"})
    EXPECT_EQ(read({{"prompt", "Q"}, {"chosen", text}, {"rejected", "b"}}), std::string("user: Q -> ") + text + " | b |");
}

TEST(Texts, WithoutAnythingToSeeAreNotTrainedOn) {
  const auto row = [](const char* prompt, const char* rejected) {
    return read({{"prompt", prompt}, {"chosen", "a"}, {"rejected", rejected}, {"system", "S"}});
  };
  EXPECT_EQ(row("Q", " \n\t "), "bad empty-response");
  EXPECT_EQ(row(" ", "b"), "bad empty-prompt") << "a system message is no prompt";
  for (const char* text :
       {"\u3000\u3000", "\u200b", "\ufeff \u00a0", "\u2060\u00ad", "\u3164", "\u2028\u0085", "\u180e\U000e0020"}) {
    EXPECT_EQ(row("Q", text), "dropped invisible-text") << json(text);
    EXPECT_EQ(row(text, "b"), "dropped invisible-text") << json(text);
  }
  for (const char* text : {"\u3002", "\U0001f600", "0", "\u200ba"}) EXPECT_NE(row("Q", text), "dropped invisible-text") << text;
}

}  // namespace
}  // namespace dmoerm::preference
