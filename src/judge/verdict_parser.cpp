#include "judge/verdict_parser.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "judge/verdict_object.h"

namespace dmoerm::judge {
namespace {

using Words = std::vector<std::string_view>;

/// A verdict and where its value stands.
struct Found {
  preference::Verdict verdict = preference::Verdict::unparsable;
  std::size_t at = std::string::npos;  ///< Offset of the value's first byte in the text that was searched
};

// Characters that may surround a value or a label without changing its meaning, including U+00A0, U+3000, and Chinese quotes and
// brackets.
const Words kAround = {" ",      "\t", "*", "_",  "`",  "\"", "'",  "[", "]",        "(",       ")", "\u00a0",
                       "\u3000", "“",  "”", "「", "」", "【", "】", "$", "\\boxed{", "\\text{", "}"};
const Words kStops = {".", "!", "。", "！"};
const Words kLabels = {"verdict", "判断", "结论", "裁决"};
const Words kFirst = {
    "1",      "１",        "response 1",     "response_1",         "response1", "response #1", "response 1 is better",
    "first",  "the first", "first response", "the first response", "回答1",     "回答 1",      "回复1",
    "回复 1", "回答一",    "回复一"};
const Words kSecond = {
    "2",      "２",         "response 2",      "response_2",          "response2", "response #2", "response 2 is better",
    "second", "the second", "second response", "the second response", "回答2",     "回答 2",      "回复2",
    "回复 2", "回答二",     "回复二"};
const Words kTie = {"tie", "draw", "平局", "平手"};
const Words kEqual = {"a tie", "a draw", "equal"};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool is_word(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// Remove any of `pieces` from the front. @return bytes removed
std::size_t skip(std::string_view& text, const Words& pieces) {
  const std::size_t before = text.size();
  for (bool again = true; again;) {
    again = std::any_of(pieces.begin(), pieces.end(), [&](std::string_view piece) {
      const bool here = text.starts_with(piece);
      if (here) text.remove_prefix(piece.size());
      return here;
    });
  }
  return before - text.size();
}

void skip_back(std::string_view& text, const Words& pieces) {
  for (bool again = true; again;) {
    again = std::any_of(pieces.begin(), pieces.end(), [&](std::string_view piece) {
      const bool here = text.ends_with(piece);
      if (here) text.remove_suffix(piece.size());
      return here;
    });
  }
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t start = text.find_first_not_of(kSpace);
  return start == std::string_view::npos ? text.substr(text.size())
                                         : text.substr(start, text.find_last_not_of(kSpace) - start + 1);
}

constexpr std::string_view kThought = "<think>", kThoughtEnd = "</think>";

/// The text after the thoughts. Nothing is left of an unclosed thought: the judge did not reach its answer.
std::string_view without_thoughts(std::string_view reply) {
  reply = trim(reply);
  if (!reply.starts_with(kThought)) return reply;
  const std::size_t end = reply.rfind(kThoughtEnd);
  return end == std::string_view::npos ? reply.substr(reply.size()) : trim(reply.substr(end + kThoughtEnd.size()));
}

/// The text after thoughts whose opening mark is part of the server's chat template, so that the reply has the closing mark
/// alone.
std::string_view without_opened_thoughts(std::string_view text) {
  const std::size_t end = text.find(kThoughtEnd);
  if (end == std::string_view::npos || text.find(kThoughtEnd, end + 1) != std::string_view::npos) return text;
  return trim(text.substr(end + kThoughtEnd.size()));
}

bool contains(const Words& words, std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); }

/// The verdict that a lower-case word stands for; unparsable for another word.
preference::Verdict verdict_of(std::string_view word, bool allow_tie) {
  if (contains(kFirst, word)) return preference::Verdict::first;
  if (contains(kSecond, word)) return preference::Verdict::second;
  return allow_tie && (contains(kTie, word) || contains(kEqual, word)) ? preference::Verdict::tie
                                                                       : preference::Verdict::unparsable;
}

/// The verdict of a value in lower case, which may have quotes, emphasis and a stop around it. @return `at` within the value
Found read_value(std::string_view value, bool allow_tie) {
  const std::size_t size = value.size();
  skip(value, kAround);
  const std::size_t at = size - value.size();
  skip_back(value, kAround);
  skip_back(value, kStops);
  skip_back(value, kAround);
  const preference::Verdict verdict = verdict_of(value, allow_tie);
  const bool decided = verdict == preference::Verdict::first || verdict == preference::Verdict::second;
  const std::size_t digit = decided && value.size() > 3 ? value.find_last_of("12") : std::string_view::npos;
  return {verdict, digit == std::string_view::npos ? at : at + digit};
}

/// Bytes of a label with its colon at the start of `text`, which is in lower case; 0 if there is none.
std::size_t label_length(std::string_view text) {
  for (const std::string_view label : kLabels) {
    if (!text.starts_with(label)) continue;
    std::string_view rest = text.substr(label.size());
    skip(rest, kAround);
    for (const std::string_view colon : {std::string_view(":"), std::string_view("：")}) {
      if (rest.starts_with(colon)) return text.size() - rest.size() + colon.size();
    }
  }
  return 0;
}

/// Verdict of a line in lower case that has a label at `label`, or unparsable.
Found read_line(std::string_view line, std::size_t label, bool allow_tie) {
  std::string_view before = line.substr(0, label), value = line.substr(label + label_length(line.substr(label)));
  static const Words kHeading = {"#", "-"};
  skip(before, kHeading);
  skip(before, kAround);
  skip_back(before, kAround);
  if (!before.empty() && before != "final" && before != "my" && before != "my final" && before != "最终" && before != "最终的" &&
      before != "我的")
    return {};
  Found found = read_value(value, allow_tie);
  found.at += static_cast<std::size_t>(value.data() - line.data());
  return found;
}

/// Whether a line does not count as the last one: it is empty, or a mark such as the end of a code fence.
bool is_mark(std::string_view line) { return line.find_first_not_of(" \t`*-_=") == std::string_view::npos; }

/// @param text  a part of `whole`
Found find_line(std::string_view text, std::string_view whole, bool allow_tie) {
  const std::string low = lower(text);
  const std::size_t offset = static_cast<std::size_t>(text.data() - whole.data());
  Found found;
  bool spoiled = false, opens = false, closes = false, begun = false;
  for (std::size_t start = 0; start < low.size();) {
    const std::size_t end = std::min(low.find_first_of("\r\n", start), low.size());
    const std::string_view line = std::string_view(low).substr(start, end - start);
    const bool is_first = !begun;
    if (!is_mark(line)) {
      begun = true;
      closes = false;
    }
    std::size_t label = 0;
    while (label < line.size() && label_length(line.substr(label)) == 0) ++label;
    if (label < line.size()) {
      Found here = read_line(line, label, allow_tie);
      // A later label with another verdict, or without one, makes the reply unparsable.
      spoiled = spoiled || (found.verdict != preference::Verdict::unparsable && found.verdict != here.verdict);
      here.at += offset + start;
      found = here;
      closes = true;
      opens = opens || (is_first && here.verdict != preference::Verdict::unparsable);
    }
    start = end + 1;
  }
  return spoiled || !(opens || closes) ? Found{} : found;
}

/// Whether a text has a label with a colon anywhere, also one in quotes as in an object.
bool has_label(const std::string& low) {
  for (std::size_t i = 0; i < low.size(); ++i) {
    if (label_length(std::string_view(low).substr(i)) > 0) return true;
  }
  return false;
}

/// @param text  a part of `whole`
Found find_json(std::string_view text, std::string_view whole, bool allow_tie) {
  const auto object = find_verdict_object(without_opened_thoughts(text));
  if (!object || has_label(lower(object->before)) || has_label(lower(object->after))) return {};
  static const Words kNumbers = {"1", "2", "1.0", "2.0"};
  const std::string value = lower(object->value);
  Found found = read_value(value, allow_tie);
  if (!object->quoted && contains(kNumbers, value)) {
    found = {value[0] == '1' ? preference::Verdict::first : preference::Verdict::second, 0};
  } else if (!object->quoted && !contains(kTie, value)) {
    return {};
  }
  found.at += static_cast<std::size_t>(object->value.data() - whole.data());
  return found;
}

/// Whether a text has a quoted key "verdict", so that lines alone do not tell what it says.
bool has_quoted_key(const std::string& low) {
  return low.find("verdict\"") != std::string::npos || low.find("verdict'") != std::string::npos;
}

/// Finds the verdict in the form that the request named, or else in the other one, as a server may ignore the form.
/// @param text  the part of `whole` after the thoughts
Found find_verdict(std::string_view text, std::string_view whole, AnswerForm form, bool allow_tie) {
  if (form == AnswerForm::verdict_line) {
    const Found line = find_line(text, whole, allow_tie);
    return line.verdict != preference::Verdict::unparsable ? line : find_json(text, whole, allow_tie);
  }
  const Found object = find_json(text, whole, allow_tie);
  if (object.verdict != preference::Verdict::unparsable || has_quoted_key(lower(text))) return object;
  return find_line(text, whole, allow_tie);
}

/// Whether the reply begins by declining to answer. Such words later in a reply are about the responses.
bool declines(std::string_view reply) {
  constexpr std::size_t kOpening = 160;  // bytes
  static const Words kPhrases = {"i cannot provide",
                                 "i cannot assist",
                                 "i cannot help",
                                 "i cannot comply",
                                 "i cannot answer",
                                 "i cannot judge",
                                 "i cannot evaluate",
                                 "i cannot compare",
                                 "i cannot choose",
                                 "i cannot select",
                                 "i cannot rate",
                                 "i cannot respond",
                                 "i cannot fulfill",
                                 "i cannot give",
                                 "i cannot make",
                                 "i cannot engage",
                                 "i cannot participate",
                                 "i cannot continue",
                                 "i cannot in good",
                                 "i am unable to",
                                 "i am not able to",
                                 "i will not ",
                                 "i must decline",
                                 "i have to decline",
                                 "i decline",
                                 "i apologize, but",
                                 "i am sorry, but",
                                 "sorry, but i",
                                 "as an ai",
                                 "against my programming",
                                 "against my policy",
                                 "无法",
                                 "抱歉",
                                 "对不起",
                                 "我不能",
                                 "我拒绝"};
  std::string opening = lower(reply.substr(0, kOpening));
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kLong = {{{"’", "'"},
                                                                                   {"can't", "cannot"},
                                                                                   {"can not", "cannot"},
                                                                                   {"i'm", "i am"},
                                                                                   {"won't", "will not"},
                                                                                   {"apologise", "apologize"}}};
  for (const auto& [from, to] : kLong) {
    for (std::size_t i = 0; (i = opening.find(from, i)) != std::string::npos; i += to.size()) opening.replace(i, from.size(), to);
  }
  // Quoted words are those of a response.
  opening.resize(std::min({opening.size(), opening.find('"'), opening.find("“"), opening.find("「")}));
  return std::any_of(kPhrases.begin(), kPhrases.end(), [&](std::string_view phrase) {
    const std::size_t at = opening.find(phrase);
    return at != std::string::npos && (at == 0 || !is_word(opening[at - 1]));
  });
}

// --- Probabilities ---

/// The text of a token, from its bytes if they are given: a token may hold a part of a character.
std::optional<std::string> token_text(const nlohmann::json& token) {
  if (!token.is_object()) return std::nullopt;
  if (const auto bytes = token.find("bytes"); bytes != token.end() && bytes->is_array()) {
    std::string text;
    for (const nlohmann::json& byte : *bytes) {
      if (!byte.is_number_unsigned() || byte.get<std::uint64_t>() > 255) return std::nullopt;
      text += static_cast<char>(byte.get<std::uint8_t>());
    }
    return text;
  }
  const auto text = token.find("token");
  return text != token.end() && text->is_string() ? std::optional(text->get<std::string>()) : std::nullopt;
}

std::optional<double> token_probability(const nlohmann::json& token) {
  const auto logprob = token.find("logprob");
  if (logprob == token.end() || !logprob->is_number()) return std::nullopt;
  const double p = std::exp(logprob->get<double>());
  return p >= 0 && p <= 1.001 ? std::optional(p) : std::nullopt;
}

/// Verdict of a token at the place of the value.
preference::Verdict token_verdict(const std::string& token, bool allow_tie) {
  const std::string low = lower(token);
  std::string_view text = low;
  skip(text, kAround);
  if (allow_tie && !text.empty()) {
    for (const std::string_view tie : kTie) {  // the word may be several tokens
      if (tie.starts_with(text)) return preference::Verdict::tie;
    }
  }
  const std::size_t end = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_word) - text.begin());
  return verdict_of(end == 0 ? text : text.substr(0, end), allow_tie);
}

}  // namespace

std::string_view to_string(AnswerForm form) { return form == AnswerForm::json_schema ? "json_schema" : "verdict_line"; }

preference::Verdict parse_verdict(std::string_view reply, AnswerForm form, bool allow_tie, bool cut) {
  const std::string_view text = without_thoughts(reply);
  const Found found = cut ? find_json(text, reply, allow_tie) : find_verdict(text, reply, form, allow_tie);
  const preference::Verdict verdict = found.verdict;
  return verdict == preference::Verdict::unparsable && declines(text) ? preference::Verdict::refused : verdict;
}

std::optional<double> first_probability(const nlohmann::json& logprobs, AnswerForm form, bool allow_tie) {
  if (!logprobs.is_object()) return std::nullopt;
  const auto content = logprobs.find("content");
  if (content == logprobs.end() || !content->is_array()) return std::nullopt;
  std::string reply;
  std::vector<std::size_t> ends;
  for (const nlohmann::json& token : *content) {
    const std::optional<std::string> text = token_text(token);
    if (!text) return std::nullopt;
    ends.push_back((reply += *text).size());
  }
  const Found found = find_verdict(without_thoughts(reply), reply, form, allow_tie);
  if (found.verdict == preference::Verdict::unparsable) return std::nullopt;
  const std::size_t index = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), found.at) - ends.begin());
  const nlohmann::json& token = content->at(index);

  std::vector<nlohmann::json> choices;
  if (const auto top = token.find("top_logprobs"); top != token.end() && top->is_array())
    choices.assign(top->begin(), top->end());
  const std::optional<std::string> said = token_text(token);
  if (std::none_of(choices.begin(), choices.end(), [&](const nlohmann::json& choice) { return token_text(choice) == said; }))
    choices.push_back(token);
  double first = 0, second = 0, tie = 0;
  for (const nlohmann::json& choice : choices) {
    const std::optional<std::string> text = token_text(choice);
    const std::optional<double> p = text ? token_probability(choice) : std::nullopt;
    if (!p) continue;
    const preference::Verdict verdict = token_verdict(*text, allow_tie);
    if (verdict == preference::Verdict::first) first += *p;
    if (verdict == preference::Verdict::second) second += *p;
    if (verdict == preference::Verdict::tie) tie += *p;
  }
  const double sum = first + second + tie;
  return sum >= 0.5 ? std::optional((first + tie / 2) / sum) : std::nullopt;
}

}  // namespace dmoerm::judge
