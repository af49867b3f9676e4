// From a judge's words to its verdict, strictly: what is not said in the form that was asked for is no verdict. Never a guess
// from digits in prose.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "label_store/label.h"

namespace dmoerm::judge {

/// How the judge is asked to answer.
enum class AnswerForm : std::uint8_t {
  json_schema,  ///< {"verdict": "1"}, "2" or "tie", which the server is told to enforce
  verdict_line  ///< a line "Verdict: 1", "Verdict: 2" or "Verdict: tie"; Chinese "判断：1"
};

/// "json_schema", "verdict_line"
std::string_view to_string(AnswerForm form);

/// Read a reply. What a reasoning model thinks aloud in front (<think>...</think>) is not part of its answer.
///
/// json_schema: the whole reply, what follows the one "</think>" in it, or the whole content of one code fence around it, is an
/// object with the one key "verdict", whose value is "1", "2" or "tie" (the numbers 1 and 2 as well).
///
/// verdict_line: a verdict line holds nothing but the word "verdict" (判断, 结论, 裁决; "final" or 最终 may stand before it), a
/// colon, and 1, 2, tie, or a phrase like "Response 1"; markdown emphasis, brackets and a final stop do not matter. A verdict
/// line must be the first or the last line of the reply, the last line with such a word and a colon must be one, and all of them
/// must agree. So what a judge quotes of a response can spoil its verdict, but not turn it round, and is no verdict where it
/// gives none.
///
/// @param allow_tie  false: a tie is not among the answers, so it is unparsable
/// @return first, second, tie; without any of them refused, if the reply begins by declining, else unparsable. Never error.
preference::Verdict parse_verdict(std::string_view reply, AnswerForm form, bool allow_tie = true);

/// What a foreign judge calls the two responses, e.g. "Output (a)". Case does not matter.
struct VerdictNames {
  std::vector<std::string> first, second, tie;
};

/// Read a reply that names the better response in a style of its own. In this order:
///   1. the reply is nothing but a name;
///   2. its last line is nothing but a name, or a word such as "answer", a colon and a name;
///   3. it says "NAME is better", "the better response is NAME", "I prefer NAME" or the like: all such sentences must agree, and
///   sentences with a negation or a
///      condition do not count.
/// @return as parse_verdict()
preference::Verdict parse_named_verdict(std::string_view reply, const VerdictNames& names);

/// How sure the judge was: the probability of "first" against "second" at the token where the reply gives its verdict; a tie
/// counts half.
/// @param logprobs  choices[0].logprobs of a chat completion: {"content": [{"token", "logprob", "bytes"?, "top_logprobs":
/// [{"token", "logprob"}]}]}
/// @return nothing if the tokens do not make up a reply with a verdict, or if less than half of the probability there is on
/// verdicts
std::optional<double> first_probability(const nlohmann::json& logprobs, AnswerForm form, bool allow_tie = true);

}  // namespace dmoerm::judge
