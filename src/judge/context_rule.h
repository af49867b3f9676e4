// Cuts texts that are too long for the judge. The rule is the same for both orders of a pair and treats both responses alike.
//
//   room = context - max_tokens - the template's own tokens
//   1. The conversation loses its oldest turns, then the beginning of its last turn, down to a quarter of the room.
//   2. Then both responses get one limit and are cut at the end: first the longer one, until both are equally long.
//
// Cuts fall between characters, and a mark from the template stands where text was cut.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::judge {

/// Tokens of a text, estimated without a tokenizer. For ordinary text and vocabularies of 100,000 tokens and more, the estimate
/// is usually too high rather than too low. A word of ASCII letters counts a token for each 6 letters begun, or each 3 in a text
/// whose words have more than 6 letters on average (Finnish); three digits count 2, a punctuation mark or line end 1, a single
/// space 0; a character outside of ASCII counts its bytes in UTF-8 minus 1: 1 for é or я, 2 for 中; an emoji of 4 bytes counts 4.
/// Coded data (base64) counts 4 tokens for 5 characters.
std::int64_t estimate_tokens(std::string_view text);

struct ContextRule {
  enum class TooLong : std::uint8_t { truncate, skip };

  std::int64_t context_tokens = 0;  ///< Context length of the judge, prompt and answer together; 0 = unlimited
  TooLong too_long = TooLong::truncate;
  std::function<std::int64_t(std::string_view)> count_tokens = estimate_tokens;
};

/// One message of the conversation as it is shown to the judge: a heading line and a text.
struct Turn {
  std::string heading;
  std::string_view text;
};

/// Texts as they are shown to the judge.
struct Fitted {
  std::string conversation, a, b;
  std::int64_t tokens = 0;  ///< Tokens of the three texts
  bool conversation_cut = false, a_cut = false, b_cut = false;
};

/// Fit the texts into `room` tokens by the rule above.
/// @param room  ignored if the rule's context is 0
/// @return nothing if they are too long and the rule is to skip
/// @throws ConfigError if the room is too small for the marks and one character of each text
std::optional<Fitted> fit_texts(const ContextRule& rule, const std::vector<Turn>& conversation, std::string_view a,
                                std::string_view b, std::int64_t room, std::string_view conversation_mark,
                                std::string_view response_mark);

}  // namespace dmoerm::judge
