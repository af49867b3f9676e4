// Tests what is noted about texts. The notes that ingest counts are tested in ingest_test.cpp.
#include "data/text_notes.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <utility>

namespace dmoerm::data {
namespace {

preference::Group group_of(const std::vector<std::string>& responses) {
  preference::Group group;
  for (const std::string& text : responses) group.responses.push_back({text, preference::kMissing, {}});
  return group;
}

/// The note on a prompt and two responses; "" if there is none, "several" if there are more.
std::string note_on(const std::string& prompt, const std::string& response, const std::string& other = "b") {
  preference::Group group = group_of({response, other});
  group.prompt = {{"user", prompt}};
  const std::vector<std::string> notes = text_notes(group);
  return notes.size() == 1 ? notes[0] : notes.empty() ? "" : "several";
}

TEST(TextNotes, NameResponsesThatNobodyCanTellApart) {
  for (const auto& [a, b] : std::initializer_list<std::pair<std::string, std::string>>{{"It is four.", "It is four. "},
                                                                                       {"c  d", "c\nd"},
                                                                                       {"c\u00a0d", "c d"},
                                                                                       {"cd\u200b", "cd"},
                                                                                       {"caf\u00e9", "cafe\u0301"},
                                                                                       {"\u304c", "\u304b\u3099"},
                                                                                       {"\ud55c", "\u1112\u1161\u11ab"}}) {
    for (const preference::Group& group : {group_of({a, b}), group_of({a, "another", b})}) {
      ASSERT_EQ(text_notes(group).size(), 1U) << a;
      EXPECT_NE(text_notes(group)[0].find("differ only in white space"), std::string::npos) << text_notes(group)[0];
    }
  }
  for (const auto& [a, b] : std::initializer_list<std::pair<std::string, std::string>>{
           {"It is four.", "It is four"}, {"c d", "cd"}, {"caf\u00e9", "cafe"}, {"cafe\u0301", "cafe\u0300"}, {"same", "same"}})
    EXPECT_TRUE(text_notes(group_of({a, b})).empty()) << a;
}

TEST(TextNotes, NameScoresOfRatersThatAreNoLabel) {
  preference::Group group = group_of({"a", "b"});
  group.raters_alone = true;
  EXPECT_EQ(text_notes(group), std::vector<std::string>{kRatersAloneNote});
}

TEST(TextNotes, NameTranscriptsOfSpeakersThatAreNotReadAsTurns) {
  for (const char* prompt : {"USER: Hi ASSISTANT: Yo USER: Well?", "### Instruction:\nAdd.\n\n### Response:\n",
                             "Human: Hi\nAI:", "Q: What?\nA:", "user: Hi\nassistant: Yo\nuser: Well?", "System: Help.\nUser: Hi",
                             "Question: What?\nAnswer: That."}) {
    preference::Group group = group_of({"a", "b"});
    group.prompt = {{"user", prompt}};
    ASSERT_EQ(text_notes(group).size(), 1U) << prompt;
    EXPECT_NE(text_notes(group)[0].find("written twice"), std::string::npos) << text_notes(group)[0];
  }
  for (const char* prompt : {"USER: Hi", "A user: hi ASSISTANT: yo", "### Instruction: add", "Q: Is grade A: good?"}) {
    preference::Group group = group_of({"a", "b"});
    group.prompt = {{"user", prompt}};
    EXPECT_TRUE(text_notes(group).empty()) << prompt;
  }
}

TEST(TextNotes, NameChatTemplatesThatWereDecodedWithoutTheirSpecialTokens) {
  for (const char* text : {"system\nYou are helpful.\nuser\nName a fruit\nassistant\n", "user\nName a fruit\nmodel\n",
                           "system\n\nYou are helpful.user\n\nName a fruitassistant\n\n", "user\nhi\nassistant\nBanana"}) {
    EXPECT_NE(note_on(text, "a").find("decoded without its special tokens"), std::string::npos) << text;
    EXPECT_NE(note_on("q", text).find("decoded without its special tokens"), std::string::npos) << text;
  }
  EXPECT_NE(note_on("q", "assistant\n\nBanana").find("decoded without its special tokens"), std::string::npos);
  EXPECT_NE(note_on("q", "Banana\nuser\nnext\nassistant\nok").find("goes on with turns of its own"), std::string::npos);
  for (const char* text : {"user\nand more", "The user\nand the\nassistant\n", "system", "assistant", "user assistant"})
    EXPECT_EQ(note_on(text, text), "") << text;
  EXPECT_EQ(note_on("q", "bin\nhome\nuser\nvar"), "") << "a list of files";
  EXPECT_EQ(note_on("system: linux\nuser: bob", "a"), "") << "YAML";
}

TEST(TextNotes, NamePlaceholdersOfFilesThatMayBeWords) {
  const auto notes_of = [](const char* prompt) {
    preference::Group group = group_of({"a [image]", "b"});
    group.prompt = {{"user", prompt}};
    return text_notes(group);
  };
  for (const char* prompt : {"[image] What is it?", "What is it? [Image]", "{image}What is it?", "Read <file>a.pdf</file>",
                             "<media>What is it?", "![](a.png) What is it?", "What is the trend?\n![chart](images/chart.png)"}) {
    ASSERT_EQ(notes_of(prompt).size(), 1U) << prompt;
    EXPECT_NE(notes_of(prompt)[0].find("a picture or file stood there"), std::string::npos) << prompt;
  }
  for (const char* prompt : {"What is an image?", "<file>\n<name>a</name>\n</file>", "{images}", "<file>",
                             "![a](https://x.org/1.png)", "`![a](a.png)`", "```\n![a](a.png)\n```"})
    EXPECT_TRUE(notes_of(prompt).empty()) << prompt;
}

TEST(TextNotes, NameResponsesThatRunOnAndCharactersOfHtml) {
  const auto note = [](const std::string& response) {
    const std::vector<std::string> notes = text_notes(group_of({response, "b"}));
    return notes.size() == 1 ? notes[0] : std::string();
  };
  EXPECT_NE(note("Banana\n\nHuman: next\n\nAssistant: ok").find("goes on with turns of its own"), std::string::npos);
  EXPECT_NE(note("It&#39;s four").find("as HTML writes them"), std::string::npos);
  EXPECT_NE(note("<s>Banana").find("written twice"), std::string::npos);
  EXPECT_NE(note("Banana<pad><pad>").find("ends with a mark of a chat template"), std::string::npos);
  EXPECT_EQ(note("Write ```&lt;``` for <"), "");
  EXPECT_EQ(note("<b>a</b> &lt; b"), "");
  preference::Group begun = group_of({" 4", " 5"});
  begun.prompt = {{"user", "q"}, {"assistant", "The answer is"}};
  ASSERT_EQ(text_notes(begun).size(), 1U);
  EXPECT_NE(text_notes(begun)[0].find("ends with a message of the assistant"), std::string::npos);
  preference::Group deleted = group_of({"a", "b"});
  deleted.prompt = {{"user", "[deleted]"}};
  ASSERT_EQ(text_notes(deleted).size(), 1U);
  EXPECT_NE(text_notes(deleted)[0].find("a prompt or response that is nothing but"), std::string::npos);
}

TEST(TextNotes, NameTextsOfAnotherAlphabetThatWereReadAsLatin1) {
  ASSERT_EQ(text_notes(group_of({"ÄãºÃ£¬Çë½éÉÜ", "b"})).size(), 1U);
  EXPECT_NE(text_notes(group_of({"ÄãºÃ£¬Çë½éÉÜ", "b"}))[0].find("GB18030"), std::string::npos);
  for (const char* text : {"Çà, où êtes-vous déjà allé à l'été ?", "äöü", "你好，请介绍一下北京", "Ünïcödé"})
    EXPECT_TRUE(text_notes(group_of({text, "b"})).empty()) << text;
}

TEST(TextNotes, NameTextsThatAProgramWroteTwice) {
  EXPECT_NE(note_on("q", R"(First.\nSecond.)", "\"b\"").find("line ends are written out"), std::string::npos);
  EXPECT_NE(note_on("q", R"(First\n\nSecond)", "\"b\"").find("line ends are written out"), std::string::npos);
  EXPECT_NE(note_on("\"q\"", "\"a\"", "\"b\"").find("quotation marks of their own"), std::string::npos);
  EXPECT_NE(note_on("q", "b'a cat'", "\"b\"").find("bytes that Python printed"), std::string::npos);
  for (const char* text :
       {R"(printf("Done.\n"))", "\\nu and \\nabla", "a `\\n\\n` b", "b's cat", R"("a" and "b")", "First.\nSecond.\\n."})
    EXPECT_EQ(note_on("\"q\"", text, "\"b\""), "") << text;
}

}  // namespace
}  // namespace dmoerm::data
