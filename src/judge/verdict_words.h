// The words by which judges name a response or a tie.
#pragma once
#include <cstddef>
#include <string_view>

#include "preference/verdict.h"

namespace dmoerm::judge {

/// A verdict and where its value stands.
struct Found {
  preference::Verdict verdict = preference::Verdict::unparsable;
  std::size_t at = std::string_view::npos;  ///< Offset, in the text that was searched, of the byte that decides
  bool named = false;   ///< Whether the value says that it names a response ("response 2") or is a tie; not "2"
  bool letter = false;  ///< Whether the response is named by a letter
};

/// Remove quotes, emphasis, brackets and blanks from the front of a text. @return bytes removed
std::size_t skip_around(std::string_view& text);
/// The same at its end.
void skip_around_back(std::string_view& text);

/// Read a value in lower case, which may have quotes, emphasis and a stop around it: a number 1 or 2, a letter A or B in their
/// place, a response by its number, letter or place ("response (1)", "assistant b", "the first response", "réponse 2",
/// "第一个回答"), also as "... is better" or said twice ("1 (response 1)"), an order ("1 > 2"), or a tie. A reason may follow
/// ("1, because ...", "response 1 is better. It ..."), unless it calls the other response the better one.
Found read_value(std::string_view value, bool allow_tie);

/// Whether a text in lower case that follows a verdict calls another response the better one: "wait, response 2 is better". Where
/// it is better in one way ("is better in tone"), nothing is taken back.
bool takes_back(std::string_view text, preference::Verdict verdict);

/// The verdict that one token in lower case stands for: a number, "first" or "second", or the beginning of a word for a tie.
/// @param letters  whether letters stand for the responses; otherwise "a" may be an article
preference::Verdict token_word(std::string_view token, bool allow_tie, bool letters);

/// Whether a word is one for a tie that stands in JSON without quotes.
bool is_tie_word(std::string_view word);

}  // namespace dmoerm::judge
