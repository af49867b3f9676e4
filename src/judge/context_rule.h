// What becomes of texts that are too long for the judge. One rule for both orders of a pair and both of its responses.
//
//   room = context - max_tokens - the template's own tokens
//   1. The conversation loses its oldest turns, then the beginning of its last turn, down to a quarter of the room.
//   2. Then both responses are held to one limit, cut at the end: the longer first, until both are equally long.
//
// Cuts fall between characters, and a mark of the template says that something was cut.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::judge {

/// Tokens of a text, estimated without a tokenizer: rather too many than too few for ordinary text of today's vocabularies
/// (100,000 tokens and more). A word of ASCII letters counts a token for each 6 letters begun, three digits count 2, a
/// punctuation mark or line end 1, a single space 0; a character outside of ASCII counts its bytes in UTF-8 minus 1: 1 for é or
/// я, 2 for 中, 3 for an emoji.
std::int64_t estimate_tokens(std::string_view text);

struct ContextRule {
  enum class TooLong : std::uint8_t { truncate, skip };

  std::int64_t context_tokens = 0;  ///< of the judge, prompt and answer together; 0 = no limit
  TooLong too_long = TooLong::truncate;
  std::function<std::int64_t(std::string_view)> count_tokens = estimate_tokens;
};

/// One message of the conversation as the judge sees it: a heading line and a text.
struct Turn {
  std::string heading;
  std::string_view text;
};

/// Texts as they are shown.
struct Fitted {
  std::string conversation, a, b;
  std::int64_t tokens = 0;  ///< of the three
  bool conversation_cut = false, a_cut = false, b_cut = false;
};

/// Fit the texts into `room` tokens by the rule above.
/// @param room  without limit if the rule's context is 0
/// @return nothing if they are too long and the rule is to skip
/// @throws ConfigError if the room is too small for the marks and one character of each text
std::optional<Fitted> fit_texts(const ContextRule& rule, const std::vector<Turn>& conversation, std::string_view a,
                                std::string_view b, std::int64_t room, std::string_view conversation_mark,
                                std::string_view response_mark);

}  // namespace dmoerm::judge
