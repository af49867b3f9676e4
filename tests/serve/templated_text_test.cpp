// Conversations that a client templated are read as `score` reads their messages.
#include "serve/templated_text.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/bundle.h"

namespace dmoerm::serve {
namespace {

using preference::Message;
using Conversation = std::vector<Message>;

/// The small bundle's tokenizer with each of the named templates.
class TemplatedText : public testing::TestWithParam<std::string> {
 protected:
  TemplatedText() {
    auto bundle = std::make_shared<moe::Bundle>(*test::earlier_bundle());
    bundle->chat_template = std::make_shared<tokenizer::ChatTemplate>(GetParam(), *bundle->tokenizer, false);
    bundle_ = bundle;
  }
  [[nodiscard]] std::string text_of(const Conversation& prompt, std::string_view response) const {
    return bundle_->chat_template->render_text(prompt, response);
  }
  void expect_read_as(const std::string& text, const Conversation& prompt, const std::string& response,
                      std::size_t prompt_bytes = 0) const {
    const ReadText read = TemplatedTextReader(bundle_).read(text, prompt_bytes);
    EXPECT_EQ(read.found, Found::messages) << text;
    const tokenizer::ChatTemplate& chat = *bundle_->chat_template;
    EXPECT_EQ(read.texts.prompt, chat.render_prompt(prompt)) << text;
    EXPECT_EQ(read.texts.responses, (std::vector<std::vector<std::int32_t>>{chat.render(prompt, response)})) << text;
  }
  std::shared_ptr<const moe::Bundle> bundle_;
};

const Conversation kShort = {{"user", "Where is my parcel?"}},
                   kLong = {{"system", "Be brief."}, {"user", "Hello"}, {"assistant", "Good day"}, {"user", "Where is\nit?"}};

TEST_P(TemplatedText, IsReadAsItsMessages) {
  for (const Conversation& prompt : {kShort, kLong}) {
    for (const char* response : {"On its way.", "One\n\ntwo", "x"}) expect_read_as(text_of(prompt, response), prompt, response);
  }
}

TEST_P(TemplatedText, IsReadWithoutItsEndOrItsBeginning) {
  const tokenizer::ChatTemplate& chat = *bundle_->chat_template;
  const std::string whole = text_of(kShort, "On its way."), cut = whole.substr(0, whole.rfind("way.") + 4);
  expect_read_as(cut, kShort, "On its way.");  // a policy that was stopped before it wrote the end
  if (chat.head_tokens() == 0) return;
  const std::string head = bundle_->tokenizer->token_of(chat.render_prompt(kShort).front());
  expect_read_as(whole.substr(head.size()), kShort, "On its way.");
  expect_read_as(head + whole, kShort, "On its way.");
}

TEST_P(TemplatedText, IsDividedWhereTheClientSaysSo) {
  const std::string prompt = bundle_->chat_template->render_text(kShort, std::nullopt),
                    response = "No. " + text_of(kShort, "nested");  // holds all of the template's words
  const ReadText read = TemplatedTextReader(bundle_).read(text_of(kShort, response), prompt.size());
  EXPECT_EQ(read.texts.prompt, bundle_->chat_template->render_prompt(kShort));
}

TEST_P(TemplatedText, MayBeAPromptWithoutAResponse) {
  const TemplatedTextReader reader(bundle_);
  const std::string prompt = bundle_->chat_template->render_text(kShort, std::nullopt);
  for (const std::string& text : {text_of(kShort, ""), text_of(kShort, "") + "[PAD]"})
    EXPECT_EQ(reader.read(text, 0).found, Found::empty) << text;
  EXPECT_EQ(reader.read(prompt, prompt.size()).found, Found::empty);
  EXPECT_EQ(reader.read(prompt + " ", prompt.size()).found, Found::empty);
  EXPECT_EQ(reader.read(bundle_->chat_template->render(kShort, "")).found, Found::empty);
  EXPECT_EQ(reader.read(text_of(kShort, "x"), 0).found, Found::messages);
}

TEST_P(TemplatedText, OfAnotherTemplateMayBeAPromptWithoutAResponse) {
  const TemplatedTextReader reader(bundle_);
  const std::string prompt = "<|im_start|>user\nWhere is my parcel?<|im_end|>\n<|im_start|>assistant\nAnswer: ";
  for (const char* response : {"", " ", "<|im_end|>", "<|eot_id|>", " </s>", "<|im_end|>\n<|endoftext|><|endoftext|>"})
    EXPECT_EQ(reader.read(prompt + response, prompt.size()).found, Found::empty) << response;
  for (const char* response : {"On its way.<|im_end|>", "x", "</p>"})
    EXPECT_NE(reader.read(prompt + response, prompt.size()).found, Found::empty) << response;
}

TEST_P(TemplatedText, HoldsTokensWhereTheyAreWritten) {
  const ReadText read = TemplatedTextReader(bundle_).read(text_of(kShort, "On its[SEP] way."), 0);
  EXPECT_EQ(read.found, Found::split) << "as messages the mark would be letters";
  const auto sep = *bundle_->tokenizer->id_of("[SEP]");
  const auto whole = bundle_->chat_template->render(kShort, "On its way.");
  EXPECT_EQ(std::ranges::count(read.texts.responses[0], sep), std::ranges::count(whole, sep) + 1);
}

/// Templates whose marks a line of text cannot hold; the only mark of plain is a line end.
class MarkedTemplate : public TemplatedText {};

TEST_P(MarkedTemplate, IsReadWithoutWhatStandsBehindItsEnd) {
  const std::string whole = text_of(kShort, "On its way."), pad = "[PAD]";
  ASSERT_EQ(bundle_->tokenizer->special_at_end(whole + pad), pad.size());
  expect_read_as(whole + pad, kShort, "On its way.");
  expect_read_as(whole + pad + pad, kShort, "On its way.");
  if (bundle_->tokenizer->special_at_end(whole) == 0) return;  // white space may belong to the response
  expect_read_as(whole + "\n", kShort, "On its way.");
  expect_read_as(whole + "\n" + pad + " ", kShort, "On its way.");
}

TEST_P(MarkedTemplate, IsReadAsItStandsWhereNothingIsFound) {
  const ReadText read = TemplatedTextReader(bundle_).read("just a line of text", 0);
  EXPECT_EQ(read.found, Found::nothing);
  EXPECT_EQ(read.texts.responses.at(0), read.texts.prompt);
  EXPECT_FALSE(read.texts.prompt.empty());
}

TEST_P(TemplatedText, IsReadAsIdsToo) {
  const tokenizer::ChatTemplate& chat = *bundle_->chat_template;
  const TemplatedTextReader reader(bundle_);
  const auto ids = chat.render(kShort, "On its way.");
  const ReadText read = reader.read(ids);
  EXPECT_EQ(read.texts.responses[0], ids);
  if (read.found == Found::split) {
    EXPECT_EQ(read.texts.prompt, chat.render_prompt(kShort));
  }
  EXPECT_THROW((void)reader.read(std::vector<std::int32_t>{1 << 30}), DataError);
  EXPECT_THROW((void)reader.read(std::vector<std::int32_t>{}), DataError);
}

std::vector<std::string> marked_templates() {
  std::vector<std::string> names = tokenizer::ChatTemplate::names();
  std::erase(names, "plain");
  return names;
}

INSTANTIATE_TEST_SUITE_P(Templates, MarkedTemplate, testing::ValuesIn(marked_templates()),
                         [](const auto& instance) { return instance.param; });
INSTANTIATE_TEST_SUITE_P(Templates, TemplatedText, testing::ValuesIn(tokenizer::ChatTemplate::names()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace dmoerm::serve
