// Tests which ids each chat template puts around contents, and that contents stay data.
#include "tokenizer/chat_template.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "support/shared.h"

namespace dmoerm::tokenizer {
namespace {

using Ids = std::vector<std::int32_t>;
using nlohmann::json;

/// A tokenizer in which the id of an ASCII character is its code, and the ids of the given special tokens begin at 200.
Tokenizer ascii(const std::vector<const char*>& specials, json post_processor = nullptr) {
  json vocab = json::object(), added = json::array();
  for (int c = 1; c < 128; ++c) vocab[std::string(1, static_cast<char>(c))] = c;
  for (const char* special : specials)
    added.push_back({{"id", 200 + added.size()}, {"content", special}, {"special", true}, {"normalized", false}});
  const json file = {{"added_tokens", added},
                     {"post_processor", std::move(post_processor)},
                     {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}}};
  return Tokenizer::parse(file.dump(), "ascii.json");
}

json around(const json& cls, const json& sep) { return {{"type", "BertProcessing"}, {"cls", cls}, {"sep", sep}}; }

/// The text of ids, with special tokens in braces.
std::string shown(const Tokenizer& tokenizer, const Ids& ids) {
  std::string text;
  for (const std::int32_t id : ids) text += fmt::format(fmt::runtime(id < 200 ? "{}" : "{{{}}}"), tokenizer.token_of(id));
  return text;
}

const std::vector<preference::Message> kTalk = {{"system", " Be kind. "}, {"user", "Hi"}, {"assistant", "Yes?"}, {"user", "Bye"}};

std::string render(const char* name, const Tokenizer& tokenizer, std::string_view response = "So long") {
  return shown(tokenizer, ChatTemplate(name, tokenizer, false).render(kTalk, response));
}

TEST(ChatTemplate, WritesChatml) {
  const Tokenizer tokenizer = ascii({"<|im_start|>", "<|im_end|>"});
  EXPECT_EQ(render("chatml", tokenizer),
            "{<|im_start|>}system\n Be kind. "
            "{<|im_end|>}\n{<|im_start|>}user\nHi{<|im_end|>}\n{<|im_start|>}assistant\nYes?{<|im_end|>}\n"
            "{<|im_start|>}user\nBye{<|im_end|>}\n{<|im_start|>}assistant\nSo long{<|im_end|>}");
  EXPECT_EQ(ChatTemplate("chatml", tokenizer, false).head_tokens(), 0);
}

TEST(ChatTemplate, WritesLlama3) {
  const Tokenizer tokenizer = ascii({"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"});
  EXPECT_EQ(render("llama3", tokenizer, " So long\n"),
            "{<|begin_of_text|>}{<|start_header_id|>}system{<|end_header_id|>}\n\nBe kind.{<|eot_id|>}"
            "{<|start_header_id|>}user{<|end_header_id|>}\n\nHi{<|eot_id|>}{<|start_header_id|>}assistant{<|end_header_id|>}"
            "\n\nYes?{<|eot_id|>}"
            "{<|start_header_id|>}user{<|end_header_id|>}\n\nBye{<|eot_id|>}{<|start_header_id|>}assistant{<|end_header_id|>}"
            "\n\nSo long{<|eot_id|>}");
  EXPECT_EQ(ChatTemplate("llama3", tokenizer, false).head_tokens(), 1);
}

TEST(ChatTemplate, WritesMistralWithTheSystemMessageInTheFirstUserTurn) {
  const Tokenizer tokenizer = ascii({"<s>", "</s>"});
  EXPECT_EQ(render("mistral", tokenizer), "{<s>}[INST]  Be kind. \n\nHi [/INST] Yes?{</s>}[INST] Bye [/INST] So long{</s>}");
  const std::vector<preference::Message> only_system = {{"system", "Be kind."}};
  EXPECT_EQ(shown(tokenizer, ChatTemplate("mistral", tokenizer, false).render(only_system, "Ok")),
            "{<s>}[INST] Be kind. [/INST] Ok{</s>}");
}

TEST(ChatTemplate, WritesPlainTextInWhatThePostProcessorPutsAroundIt) {
  const Tokenizer bert = ascii({"[CLS]", "[SEP]"}, around({"[CLS]", 200}, {"[SEP]", 201}));
  EXPECT_EQ(render("plain", bert), "{[CLS]} Be kind. \nHi\nYes?\nBye{[SEP]}So long{[SEP]}");
  EXPECT_EQ(ChatTemplate("plain", bert, false).head_tokens(), 1);
  const Tokenizer bare = ascii({"<|endoftext|>"});
  EXPECT_EQ(render("plain", bare), " Be kind. \nHi\nYes?\nBye\nSo long");
  EXPECT_EQ(ChatTemplate("plain", bare, false).head_tokens(), 0);
}

TEST(ChatTemplate, WritesItsOwnTemplateInPlainWords) {
  const Tokenizer decoder =
      ascii({"<s>", "</s>"}, {{"type", "TemplateProcessing"},
                              {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                              {"special_tokens", {{"<s>", {{"ids", {200}}}}}}});
  EXPECT_EQ(render("dmoerm", decoder), "{<s>}System:  Be kind. \nUser: Hi\nAssistant: Yes?\nUser: Bye\nAssistant: So long{</s>}");
  EXPECT_EQ(ChatTemplate("dmoerm", decoder, false).head_tokens(), 1);
  const Tokenizer bert = ascii({"[CLS]", "[SEP]"}, around({"[CLS]", 200}, {"[SEP]", 201}));
  EXPECT_EQ(render("dmoerm", bert),
            "{[CLS]}System:  Be kind. \nUser: Hi\nAssistant: Yes?\nUser: Bye\nAssistant:{[SEP]} So long{[SEP]}");
}

TEST(ChatTemplate, StartsEveryRenderingWithThePromptWhereATokenEndsIt) {
  const Tokenizer tokenizer = ascii({"[CLS]", "[SEP]"}, around({"[CLS]", 200}, {"[SEP]", 201}));
  for (const char* name : {"plain", "dmoerm"}) {
    const ChatTemplate chat(name, tokenizer, false);
    const Ids prompt = chat.render_prompt(kTalk), whole = chat.render(kTalk, "x");
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), whole.begin()));
    EXPECT_LT(prompt.size(), whole.size());
  }
}

TEST(ChatTemplate, RendersAGroupAsItsTextsOneByOne) {
  const Tokenizer bert = ascii({"[CLS]", "[SEP]"}, around({"[CLS]", 200}, {"[SEP]", 201})),
                  decoder = ascii({"<|im_start|>", "<|im_end|>"});
  const std::vector<std::string_view> responses = {"So long", "", " So ", "So long"};
  for (const Tokenizer* tokenizer : {&bert, &decoder}) {
    for (const std::string& name : ChatTemplate::names()) {
      const ChatTemplate chat(name, *tokenizer, true);
      for (const auto& prompt : {kTalk, std::vector<preference::Message>{}, std::vector<preference::Message>{{"user", " a"}}}) {
        const ChatTemplate::GroupIds group = chat.render_group(prompt, responses);
        EXPECT_EQ(group.prompt, chat.render_prompt(prompt)) << name;
        ASSERT_EQ(group.texts.size(), responses.size());
        for (std::size_t i = 0; i < responses.size(); ++i) EXPECT_EQ(group.texts[i], chat.render(prompt, responses[i])) << name;
      }
    }
  }
}

TEST(ChatTemplate, KeepsSpecialTokensInContentsAsDataByDefault) {
  const Tokenizer tokenizer = ascii({"<|im_start|>", "<|im_end|>"});
  const std::vector<preference::Message> prompt = {{"user", "a"}};
  const auto count = [&](bool special_in_text) {
    const Ids ids = ChatTemplate("chatml", tokenizer, special_in_text).render(prompt, "b<|im_end|>c");
    return std::count(ids.begin(), ids.end(), 201);
  };
  EXPECT_EQ(count(false), 2);  // one end per message
  EXPECT_EQ(count(true), 3);
}

TEST(ChatTemplate, TokenisesTemplateWordsAndContentsTogether) {
  json file = {{"added_tokens", json::array()},
               {"model", {{"type", "BPE"}, {"vocab", {{" ", 1}, {"x", 2}, {" x", 3}, {":", 4}}}, {"merges", {" x"}}}}};
  file["model"]["merges"] = json::array({json::array({" ", "x"})});
  const Tokenizer tokenizer = Tokenizer::parse(file.dump(), "t.json");
  EXPECT_EQ(ChatTemplate("dmoerm", tokenizer, false).render({}, "x"), (Ids{4, 3}));  // "Assistant: x": the space joins the x
}

TEST(ChatTemplate, IsNamedByTheHashOfItsText) {
  const Tokenizer tokenizer = ascii({});
  std::set<std::string> digests;
  for (const std::string& name : ChatTemplate::names()) {
    for (const bool special : {false, true}) {
      const ChatTemplate chat(name, tokenizer, special);
      EXPECT_EQ(chat.name(), name);
      EXPECT_EQ(chat.digest(), sha256_hex(chat.text()));
      digests.insert(chat.digest());
    }
  }
  EXPECT_EQ(digests.size(), 10U);
}

TEST(ChatTemplate, HasThePinnedTexts) {
  // A change here changes the meaning of every earlier artefact: give a new text a new name instead.
  const Tokenizer tokenizer = ascii({});
  const std::vector<std::pair<std::string, std::string>> pinned = {
      {"chatml", "b0f32dedb3598cbf959c666bae4bb0ac6cb77fd940c654774a021e1b74fd74e1"},
      {"llama3", "9bf999dcf7d4326b0978bbc5fba5624da657b85e7ddcf6638da4df1ea03369cd"},
      {"mistral", "b4209ca27b242c84688368a6871affc0d04088c2f5535b04210a1b8c182dee6e"},
      {"plain", "7cf6532f9393ca80e730270ada3300e801f17375b3efc9853053602cde089579"},
      {"dmoerm", "763c42536c304b3dc71bb87f6b6737269d8647fbeeb953c8a24ed20ae2761dd4"},
  };
  for (const auto& [name, digest] : pinned) EXPECT_EQ(ChatTemplate(name, tokenizer, false).digest(), digest) << name;
}

TEST(ChatTemplate, ListsTheNamesItKnows) {
  const Tokenizer tokenizer = ascii({});
  try {
    ChatTemplate("alpaca", tokenizer, false);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("\"alpaca\" is unknown; expected one of chatml, llama3, mistral, plain, dmoerm"),
              std::string::npos);
  }
}

TEST(ChatTemplate, NamesTheTokensThatTheTokenizerLacks) {
  const Tokenizer tokenizer = ascii({"<|im_start|>"});
  EXPECT_EQ(ChatTemplate("chatml", tokenizer, false).missing_tokens(), (std::vector<std::string>{"<|im_end|>"}));
  EXPECT_TRUE(ChatTemplate("dmoerm", tokenizer, false).missing_tokens().empty());
}

TEST(ChatTemplate, GivesCheckedIdsWithARealVocabulary) {
  const auto path = test::golden("tokenizers/tiny_digits_bytelevel.json");
  DMOERM_NEEDS(path);
  const Tokenizer tokenizer = Tokenizer::load(path);
  const std::vector<preference::Message> prompt = {{"user", "Hello world"}};
  EXPECT_EQ(ChatTemplate("chatml", tokenizer, false).render(prompt, "Hi 12"),
            (Ids{1, 87, 474, 201, 448, 443, 2, 201, 1, 416, 75, 299, 333, 86, 201, 42, 75, 223, 19, 20, 2}));
}

}  // namespace
}  // namespace dmoerm::tokenizer
