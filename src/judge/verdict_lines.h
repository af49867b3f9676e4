// Verdicts that stand on lines of their own in a judge's reply: after a label with a colon, below a heading, or as a sentence.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "judge/verdict_words.h"

namespace dmoerm::judge {

/// Kinds of words before a verdict.
enum class LineLabel : std::uint8_t {
  verdict,    ///< "verdict", 判断
  judgement,  ///< "winner", "better response"
  answer      ///< "answer", "choice": a number after them may answer the conversation's own question, so a response must be named
};

/// Find the verdict on the last line of a text (after LineLabel::verdict also on its first): "Verdict: 1", "Verdict: 1 is better,
/// because ...", "## Verdict" with "1" on the line below, "The better response is 2". All such lines must agree.
/// @param text  a part of `whole`; the offset in the result counts from the start of `whole`
Found find_line(std::string_view text, std::string_view whole, bool allow_tie, LineLabel label);

/// Whether any line of a text, read like those of find_line() with labels of the first two kinds, gives another verdict.
bool contradicts(std::string_view text, preference::Verdict verdict, bool allow_tie);

/// Whether a text in lower case has the word "verdict" with a colon anywhere, also in quotes as in an object.
bool has_verdict_label(std::string_view low);

}  // namespace dmoerm::judge
