// Texts that a client has templated already, as trainers send them: finds the prompt and the response again, so that router and
// experts read what they read of the same conversation in `dmoerm score`.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/bundle.h"

namespace dmoerm::serve {

/// How much of a conversation was found in a text.
enum class Found : std::uint8_t {
  messages,  ///< The bundle's template gives this very text for the messages that were found: the ids are those of `score`
  split,     ///< The place where the response begins
  nothing,   ///< The text is read as it stands, and the router reads all of it
  empty,     ///< A prompt without a response, or with marks of an end alone: it has no score of the model
};

struct ReadText {
  moe::TokenTexts texts;  ///< One response
  Found found = Found::nothing;
};

/// Knows what a bundle's template writes between the contents of messages. A leading BOS is counted once, whether the text has
/// none, one or two; a response without the template's end gets it, because the model was trained with it, and special tokens
/// (ends, paddings) and white space behind it do not count. Special tokens inside a text are tokens and no content of a message.
class TemplatedTextReader {
 public:
  explicit TemplatedTextReader(std::shared_ptr<const moe::Bundle> bundle);

  /// @param prompt_bytes  bytes at the beginning that the client calls the prompt; 0 = it says nothing
  /// @throws DataError if the text has no tokens
  [[nodiscard]] ReadText read(std::string_view text, std::size_t prompt_bytes) const;
  /// The same of token ids; they are taken as they are, but for the BOS.
  /// @throws DataError for ids that the model does not have, or none
  [[nodiscard]] ReadText read(const std::vector<std::int32_t>& ids) const;

 private:
  struct Parts {
    std::string prompt, response;  ///< prompt: up to and with what leads to the response
  };
  [[nodiscard]] std::vector<Parts> divisions(const std::string& text, std::size_t prompt_bytes) const;
  [[nodiscard]] std::optional<moe::TokenTexts> as_messages(const Parts& parts) const;
  [[nodiscard]] std::vector<std::vector<preference::Message>> readings(std::string_view prompt) const;
  [[nodiscard]] std::vector<std::int32_t> encode(const std::string& text) const;
  [[nodiscard]] std::vector<std::int32_t> with_head(std::vector<std::int32_t> ids) const;
  [[nodiscard]] std::string with_head(std::string_view text, std::size_t& prompt_bytes) const;
  [[nodiscard]] std::string without_end(std::string response) const;
  [[nodiscard]] std::string without_special_end(std::string text) const;

  std::shared_ptr<const moe::Bundle> bundle_;
  std::vector<std::int32_t> head_ids_;  ///< Ids at the beginning of every text, such as a BOS
  std::string head_;                    ///< The same as text
  std::string before_user_, before_system_, system_to_user_, user_to_assistant_, assistant_to_user_;
  std::string answer_;       ///< What the template writes behind the last user's content
  std::string answer_lead_;  ///< What it writes between that and the response
  std::string end_;          ///< What it writes behind the response
  std::vector<std::int32_t> answer_ids_, end_ids_;
};

}  // namespace dmoerm::serve
