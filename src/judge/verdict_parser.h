// Reads the verdict in a judge's reply, strictly: a reply that does not have the requested form has no verdict. Digits in prose
// are never taken for one.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "preference/verdict.h"

namespace dmoerm::judge {

/// How the judge is asked to answer.
enum class AnswerForm : std::uint8_t {
  json_schema,  ///< {"verdict": "1"}, "2" or "tie", which the server is told to enforce
  verdict_line  ///< a line "Verdict: 1", "Verdict: 2" or "Verdict: tie"; Chinese "判断：1"
};

/// "json_schema", "verdict_line"
std::string_view to_string(AnswerForm form);

/// Read a reply. The thoughts of a reasoning model before its answer (<think>...</think>) are ignored.
///
/// Both forms accept the same plain spellings (read_value()): 1, Response 1, response_1, Response (1), First, Antwort 1, 回答1,
/// the same with "is better", 1 > 2, tie, in any case, with emphasis, quotes and a final stop around them. The letters A and B
/// stand for 1 and 2, the order in which every template shows the responses. A reason may follow ("1, because ...", "Response 1
/// is better. It ..."); if it calls the other response the better one, there is no verdict. A server may ignore the form that
/// the request names, so a reply in the other form is read too. Scores are not read: no template asks for them.
///
/// A reply may also be a list of one object, an object in a JSON string, the same object several times, or end with a line
/// "<verdict>1</verdict>".
///
/// An object has one key "verdict" in any case, or else one like "winner", and a string or one of the numbers 1 and 2 as its
/// value; other keys and comments may stand beside it. The object, or a code fence around it, begins the reply, or ends it from
/// the beginning of a line. No other text of the reply has a word "verdict" with a colon.
///
/// A verdict line holds nothing but the word "verdict" (判断, 结论, 裁决; "final" or 最终 may stand before it), a
/// colon, and 1, 2, tie, or a phrase like "Response 1"; markdown emphasis, brackets and a final stop do not matter. The word may
/// also be a heading, with the value on the line below, or begin a sentence: "My verdict is 2". A verdict line must be the first
/// or the last line of the reply, the last line with such a word and a colon must be one, and all of them must agree. A response
/// that the judge quotes can therefore make its reply unparsable, but can neither reverse its verdict nor supply a missing one.
/// In a reply without the word "verdict" the last line may have another: "Winner: 1", "Urteil: 2", "The better response is 2", or
/// "Answer: Response 2". After "answer" and the like a number or letter alone is not read, nor "Option B": a judge may have
/// answered the conversation's own question instead of judging.
///
/// Where a reply gives two verdicts in any of these ways, and they disagree, it has none.
///
/// @param allow_tie  whether a tie is among the answers; if not, it is unparsable
/// @param cut        whether the reply was cut off at max_tokens; then only an object counts, because the last line may be a
/// quotation
/// @return first, second or tie; else refused if the reply begins by declining, else unparsable. Never error.
preference::Verdict parse_verdict(std::string_view reply, AnswerForm form, bool allow_tie = true, bool cut = false);

/// Probability of "first" against "second" at the token where the reply gives its verdict; a tie counts half.
/// @param logprobs  choices[0].logprobs of a chat completion: {"content": [{"token", "logprob", "bytes"?, "top_logprobs":
/// [{"token", "logprob"}]}]}
/// @return nothing if the tokens do not make up a reply with a verdict, or if verdicts have less than half of the probability at
/// that token
std::optional<double> first_probability(const nlohmann::json& logprobs, AnswerForm form, bool allow_tie = true);

}  // namespace dmoerm::judge
