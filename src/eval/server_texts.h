// Conversations as texts in a chat template, for servers that take no messages. No tokenizer is needed: the template's tokens are
// written out.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "preference/group.h"

namespace dmoerm::tokenizer {
class ChatTemplate;
class Tokenizer;
}  // namespace dmoerm::tokenizer

namespace dmoerm::eval {

class ServerTexts {
 public:
  /// @param chat_template  a name, or a file that launch/pin_chat_template.py wrote
  /// @throws ConfigError for an unknown name, or a template whose text depends on the model's tokenizer; IoError, DataError
  explicit ServerTexts(const std::string& chat_template);
  ~ServerTexts();
  ServerTexts(const ServerTexts&) = delete;
  ServerTexts& operator=(const ServerTexts&) = delete;

  /// The prompt with what leads to the response.
  [[nodiscard]] std::string prompt(const std::vector<preference::Message>& messages) const;
  /// Prompt and response in full.
  [[nodiscard]] std::string text(const std::vector<preference::Message>& messages, std::string_view response) const;
  /// Name of the template, and SHA-256 of its text.
  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] const std::string& digest() const;

 private:
  std::unique_ptr<const tokenizer::Tokenizer> no_tokens_;
  std::unique_ptr<const tokenizer::ChatTemplate> template_;  ///< Refers to no_tokens_
};

}  // namespace dmoerm::eval
