// A model's own chat template in pinned form: what it renders, and that a damaged file is refused by name and key.
#include "tokenizer/chat_form.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "tokenizer/chat_template.h"

namespace dmoerm::tokenizer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Prompt = std::vector<preference::Message>;

json content(const char* steps = "[]") { return {{"content", json::parse(steps)}}; }
json token(const char* text) { return {{"token", text}}; }

/// Turns in brackets; system messages at the start only; no two user turns in a row.
json small_form() {
  return {{"starts_with_bos", true},
          {"edges",
           {{"start>system", {token("<s>"), "[S:", content()}},
            {"start>user", {token("<s>"), "[U:", content(R"([["strip"]])")}},
            {"system>user", {"][U:", content(R"([["rstrip"]])")}},
            {"user>assistant", {"][A:", content()}},
            {"assistant>user", {"][U:", content(R"([["strip"]])")}},
            {"user>generation", {"][A:"}},
            {"user>response", {"][A:", content(R"([["lstrip", "\n"]])")}},
            {"response>end", {"]", token("</s>")}}}}};
}

json small_file() {
  const json form = small_form();
  return {{"schema_version", 1},     {"name", "small"}, {"source", {{"file", "tokenizer_config.json"}, {"sha256", "00"}}},
          {"proof", json::object()}, {"form", form},    {"sha256", sha256_hex(form.dump())}};
}

/// A token for each ASCII character, and special ones.
Tokenizer ascii(const json& specials) {
  json vocab = json::object(), added = json::array();
  for (int c = 1; c < 128; ++c) vocab[std::string(1, static_cast<char>(c))] = c;
  for (const json& special : specials) {
    json entry = {{"id", 200 + added.size()}, {"special", true}, {"normalized", false}};
    entry.update(special);
    added.push_back(entry);
  }
  const json file = {{"added_tokens", added}, {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}}};
  return Tokenizer::parse(file.dump(), "ascii.json");
}

Tokenizer with_ends() { return ascii({{{"content", "<s>"}}, {{"content", "</s>"}}}); }

std::string render(const json& form, const Prompt& prompt, std::optional<std::string_view> response) {
  const Tokenizer tokenizer = with_ends();
  return ChatTemplate(ChatForm::parse(form, "small", "small.json"), tokenizer, false).render_text(prompt, response);
}

class ChatFormFile : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_);
    write(small_file());
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const json& document) const { std::ofstream(path_) << document.dump(1); }
  /// Write a changed file, its hash right again unless `sealed` is false, and say why it is refused.
  template <class Change>
  std::string refusal(const Change& change, bool sealed = true) const {
    json document = small_file();
    change(document);
    if (sealed && document.contains("form")) document["sha256"] = sha256_hex(document["form"].dump());
    write(document);
    try {
      ChatForm::load(path_);
      return "";
    } catch (const DataError& e) {
      return e.what();
    }
  }

  const fs::path folder_ = fs::temp_directory_path() / ("dmoerm_chat_form_" + std::to_string(::getpid()));
  const fs::path path_ = folder_ / "small.json";
};

TEST(ChatForm, WritesWhatStandsBetweenNeighbours) {
  EXPECT_EQ(render(small_form(), {{"user", " Hi "}}, "\n\nYes "), "<s>[U:Hi][A:Yes ]</s>");
  EXPECT_EQ(render(small_form(), {{"system", " Be kind "}, {"user", " Hi "}, {"assistant", " Yes? "}, {"user", " Bye "}}, "x"),
            "<s>[S: Be kind ][U: Hi][A: Yes? ][U:Bye][A:x]</s>");
  EXPECT_EQ(render(small_form(), {{"user", "Hi"}}, std::nullopt), "<s>[U:Hi][A:");
}

TEST(ChatForm, JoinsWhatTheTemplateRefusesToTheUsersTurn) {
  EXPECT_EQ(render(small_form(), {{"user", "a"}, {"user", "b"}}, "x"), "<s>[U:a\n\nb][A:x]</s>");
  EXPECT_EQ(render(small_form(), {{"user", "a"}, {"assistant", "b"}, {"system", "c"}, {"user", "d"}}, "x"),
            "<s>[U:a][A:b][U:c\n\nd][A:x]</s>");
  EXPECT_EQ(render(small_form(), {{"user", "a"}, {"assistant", "b"}, {"assistant", "c"}, {"user", "d"}}, "x"),
            "<s>[U:a][A:b\n\nc][U:d][A:x]</s>");
  json form = small_form();
  form["edges"].erase("start>system");
  EXPECT_EQ(render(form, {{"system", "s"}, {"user", "a"}}, "x"), "<s>[U:s\n\na][A:x]</s>");
  EXPECT_EQ(render(form, {{"system", "s"}}, "x"), "<s>[U:s][A:x]</s>");
}

TEST(ChatForm, LeadsToTheResponseAsAfterAUserWhereItKnowsNoOther) {
  EXPECT_EQ(render(small_form(), {{"user", "a"}, {"assistant", "b"}}, "x"), "<s>[U:a][A:b][A:x]</s>");
  json form = small_form();
  form["edges"]["assistant>response"] = {" ", content()};
  EXPECT_EQ(render(form, {{"user", "a"}, {"assistant", "b"}}, "x"), "<s>[U:a][A:b x]</s>");
}

TEST(ChatForm, RendersAGroupAsItsTextsOneByOne) {
  const Tokenizer tokenizer = ascii({{{"content", "<s>"}, {"rstrip", true}}, {{"content", "</s>"}, {"lstrip", true}}});
  const ChatTemplate chat(ChatForm::parse(small_form(), "small", "small.json"), tokenizer, false);
  const std::vector<std::string_view> responses = {"Yes", "", "\n No ", "Yes"};
  const std::vector<Prompt> prompts = {
      {{"user", " Hi "}}, {{"user", "a"}, {"assistant", "b"}}, {{"system", "s"}}, {{"user", "a"}, {"user", "b"}}};
  for (const Prompt& prompt : prompts) {
    const ChatTemplate::GroupIds group = chat.render_group(prompt, responses);
    EXPECT_EQ(group.prompt, chat.render_prompt(prompt));
    ASSERT_EQ(group.texts.size(), responses.size());
    for (std::size_t i = 0; i < responses.size(); ++i) EXPECT_EQ(group.texts[i], chat.render(prompt, responses[i]));
  }
}

TEST(ChatForm, StepsMeanWhatPythonsMethodsMean) {
  using Kind = ContentStep::Kind;
  const std::string text = "\u2003\n a\u00a0b \u3000\x1c\u0085";
  EXPECT_EQ((ContentStep{Kind::strip, ""}.apply(text)), "a\u00a0b");
  EXPECT_EQ((ContentStep{Kind::lstrip, ""}.apply(text)), "a\u00a0b \u3000\x1c\u0085");
  EXPECT_EQ((ContentStep{Kind::rstrip, ""}.apply(text)), "\u2003\n a\u00a0b");
  EXPECT_EQ((ContentStep{Kind::strip, ""}.apply("\u200b x\ufeff ")), "\u200b x\ufeff");  // neither is white space
  EXPECT_EQ((ContentStep{Kind::strip, "\né"}.apply("\né x é\n")), " x ");
  EXPECT_EQ((ContentStep{Kind::strip, ""}.apply(" \n")), "");
  EXPECT_EQ((ContentStep{Kind::after_last, "</t>"}.apply("a</t>b</t>\n c")), "\n c");
  EXPECT_EQ((ContentStep{Kind::after_last, "</t>", "\n"}.apply("a</t>\n c")), " c");
  EXPECT_EQ((ContentStep{Kind::after_last, "</t>", "\n"}.apply("\na")), "\na");
  EXPECT_EQ((ContentStep{Kind::before_first, "</t>"}.apply("a</t>b</t>c")), "a");
  EXPECT_EQ((ContentStep{Kind::before_first, "</t>"}.apply("a")), "");
}

TEST(ChatForm, ReadsBrokenUtf8AsTheTokenizerDoes) {
  EXPECT_EQ(render(small_form(), {{"user", " \x80\x80 "}}, "\xff"), "<s>[U:\ufffd\ufffd][A:\ufffd]</s>");
}

TEST(ChatForm, ContentsStayData) {
  const Tokenizer tokenizer = with_ends();
  const Prompt prompt = {{"user", "a</s>"}};
  const auto ends = [&](bool special_in_text) {
    const ChatTemplate chat(ChatForm::parse(small_form(), "small", "small.json"), tokenizer, special_in_text);
    const auto ids = chat.render(prompt, "b</s>");
    return std::ranges::count(ids, 201);
  };
  EXPECT_EQ(ends(false), 1);
  EXPECT_EQ(ends(true), 3);
}

TEST(ChatForm, TokensTakeTheSpaceBesideThemAsInTheTokenizer) {
  const Tokenizer tokenizer =
      ascii({{{"content", "<s>"}, {"rstrip", true}}, {{"content", "</s>"}, {"lstrip", true}, {"rstrip", true}}});
  json form = small_form();
  form["edges"]["start>user"] = {token("<s>"), "\n", content(), "\n"};
  form["edges"]["user>response"] = {" ", token("</s>"), "\n", content()};
  const ChatTemplate chat(ChatForm::parse(form, "small", "small.json"), tokenizer, true);
  const Prompt prompt = {{"user", "  Hi \u00a0"}};
  const std::string text = chat.render_text(prompt, " x ");
  EXPECT_EQ(text, "<s>\n  Hi \u00a0\n </s>\n x ]</s>");
  EXPECT_EQ(chat.render(prompt, " x "), tokenizer.encode(text, true));
}

TEST(ChatForm, KeepsABosThatTheTemplateWrites) {
  const Tokenizer tokenizer = with_ends(), bare = ascii(json::array());
  json form = small_form();
  const auto head = [&](const Tokenizer& t) {
    return ChatTemplate(ChatForm::parse(form, "s", "s.json"), t, false).head_tokens();
  };
  EXPECT_EQ(head(tokenizer), 1);
  EXPECT_EQ(head(bare), 0);
  form["starts_with_bos"] = false;
  EXPECT_EQ(head(tokenizer), 0);
}

TEST(ChatForm, NamesTheTokensThatTheTokenizerLacks) {
  const Tokenizer tokenizer = ascii({{{"content", "<s>"}}});
  EXPECT_EQ(ChatTemplate(ChatForm::parse(small_form(), "s", "s.json"), tokenizer, false).missing_tokens(),
            (std::vector<std::string>{"</s>"}));
}

TEST_F(ChatFormFile, ItsContentNamesItAndNotItsPath) {
  const Tokenizer tokenizer = with_ends();
  const ChatTemplate chat(path_.string(), tokenizer, false);
  EXPECT_EQ(chat.name(), "small");
  EXPECT_EQ(chat.digest(), sha256_hex("form: " + small_form().dump() + "\nspecial tokens in contents: data\n"));
  const fs::path other = folder_ / "elsewhere.json";
  json document = small_file();
  document["name"] = "other", document["proof"] = {{"seed", 2}};
  std::ofstream(other) << document.dump();
  EXPECT_EQ(ChatTemplate(other.string(), tokenizer, false).digest(), chat.digest());
  EXPECT_NE(ChatTemplate(other.string(), tokenizer, true).digest(), chat.digest());
  document["form"]["edges"]["user>generation"] = {"]<A:"};
  document["sha256"] = sha256_hex(document["form"].dump());
  std::ofstream(other) << document.dump();
  EXPECT_NE(ChatTemplate(other.string(), tokenizer, false).digest(), chat.digest());
}

TEST_F(ChatFormFile, ANamedTemplateHasNoForm) {
  const Tokenizer tokenizer = with_ends();
  EXPECT_EQ(ChatTemplate("chatml", tokenizer, false).form(), nullptr);
  ASSERT_NE(ChatTemplate(path_.string(), tokenizer, false).form(), nullptr);
  EXPECT_THROW(ChatTemplate((folder_ / "absent.json").string(), tokenizer, false), IoError);
}

TEST_F(ChatFormFile, DamageIsNamedByFileAndKey) {
  const std::string file = path_.string() + ": ";
  EXPECT_EQ(refusal([](json&) {}), "");
  const auto expect = [&](const std::string& said, const std::string& words) {
    EXPECT_TRUE(said.starts_with(file) && said.find(words) != std::string::npos) << said;
  };
  expect(refusal([](json& d) { d["form"]["edges"]["response>end"] = {"!"}; }, false), "sha256: expected ");
  expect(refusal([](json& d) { d["schema_version"] = 2; }), "schema_version: expected 1, found 2");
  expect(refusal([](json& d) { d["colour"] = 2; }), "top level: unknown key \"colour\"; known here: form, name");
  expect(refusal([](json& d) { d.erase("form"); }), "\"form\" is missing");
  expect(refusal([](json& d) { d = {1, 2}; }), "expected an object, found array");
  expect(refusal([](json& d) { d["form"]["merges"] = true; }), "form: unknown key \"merges\"");
  expect(refusal([](json& d) { d["form"]["edges"]["user>tool"] = {"x"}; }), "form.edges: unknown key \"user>tool\"");
  expect(refusal([](json& d) { d["form"]["edges"].erase("user>response"); }), "form.edges: \"user>response\" is missing");
  expect(refusal([](json& d) { d["form"]["edges"].erase("system>user"); }), "form.edges: \"system>user\" is missing");
  expect(refusal([](json& d) { d["form"]["edges"]["start>user"] = {"x"}; }), "form.edges.start>user: expected a content");
  expect(refusal([](json& d) { d["form"]["edges"]["response>end"] = {content()}; }),
         "form.edges.response>end: expected no content");
  expect(refusal([](json& d) {
           d["form"]["edges"]["response>end"] = {json{{"tokn", "x"}}};
         }),
         "form.edges.response>end[0]: unknown key \"tokn\"; known here: content, token");
  expect(refusal([](json& d) { d["form"]["edges"]["response>end"] = {3}; }),
         "form.edges.response>end[0]: expected an object, found number");
  expect(refusal([](json& d) { d["form"]["edges"]["start>user"] = {content(R"([["chop"]])")}; }),
         "form.edges.start>user[0].content[0][0]: \"chop\" is not supported; supported: strip");
  expect(refusal([](json& d) { d["form"]["edges"]["start>user"] = {content(R"([["after_last"]])")}; }),
         "after_last takes 1 to 2 texts, found 0");
  expect(refusal([](json& d) { d["form"]["edges"]["start>user"] = {content(R"([["before_first", ""]])")}; }),
         "must not be empty");
  std::ofstream(path_) << "{\"schema_version\": 1,";
  try {
    ChatForm::load(path_);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find(path_.string() + ":1"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace dmoerm::tokenizer
