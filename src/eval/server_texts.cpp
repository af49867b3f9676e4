#include "eval/server_texts.h"

#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::eval {
namespace {

/// A tokenizer without tokens: with it a template writes each of its tokens as text.
constexpr std::string_view kNoTokens = R"({"model": {"type": "BPE", "vocab": {}, "merges": []}})";

/// Whether a template names tokens by what they are for, so that only the model's tokenizer knows their text.
bool depends_on_tokenizer(const tokenizer::ChatTemplate& chat) {
  if (chat.form() != nullptr) return false;
  for (const std::string_view placeholder : {"{head}", "{tail}", "{end}", "{sep|"}) {
    if (chat.text().find(placeholder) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

ServerTexts::ServerTexts(const std::string& chat_template)
    : no_tokens_(std::make_unique<tokenizer::Tokenizer>(tokenizer::Tokenizer::parse(kNoTokens, "no tokens"))),
      template_(std::make_unique<tokenizer::ChatTemplate>(chat_template, *no_tokens_, false)) {
  if (depends_on_tokenizer(*template_))
    throw ConfigError(
        "template-needs-a-tokenizer",
        fmt::format("--template {}: what this template writes depends on the model's tokenizer, which a server keeps to itself; "
                    "name another, or the file that launch/pin_chat_template.py makes of the model's own",
                    chat_template));
}

ServerTexts::~ServerTexts() = default;

std::string ServerTexts::prompt(const std::vector<preference::Message>& messages) const {
  return template_->render_text(messages, std::nullopt);
}

std::string ServerTexts::text(const std::vector<preference::Message>& messages, std::string_view response) const {
  return template_->render_text(messages, response);
}

const std::string& ServerTexts::name() const { return template_->name(); }
const std::string& ServerTexts::digest() const { return template_->digest(); }

}  // namespace dmoerm::eval
