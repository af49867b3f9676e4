#include "judge/verdict_parser.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "judge/verdict_lines.h"
#include "judge/verdict_object.h"
#include "judge/verdict_words.h"

namespace dmoerm::judge {
namespace {

using Words = std::vector<std::string_view>;

bool is_word(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

constexpr std::string_view kThoughtEnd = "</think>";

/// The text without what marks it as the answer: the channel of gpt-oss, or an element around it.
std::string_view without_answer_marks(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kMarks = {{{"<|begin_of_box|>", "<|end_of_box|>"},
                                                                                    {"<|channel|>final<|message|>", "<|return|>"},
                                                                                    {"<|channel|>final<|message|>", ""},
                                                                                    {"<answer>", "</answer>"},
                                                                                    {"<final_answer>", "</final_answer>"},
                                                                                    {"<output>", "</output>"}}};
  text = trim(text);
  for (const auto& [begin, end] : kMarks) {
    if (text.starts_with(begin) && text.ends_with(end) && text.size() > begin.size() + end.size())
      return trim(text.substr(begin.size(), text.size() - begin.size() - end.size()));
  }
  return text;
}

/// The text after the thoughts. Nothing is left of an unclosed thought: the judge did not reach its answer.
std::string_view without_thoughts(std::string_view reply) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kThoughts = {
      {{"<think>", kThoughtEnd},
       {"<thinking>", "</thinking>"},
       {"<thought>", "</thought>"},
       {"<reasoning>", "</reasoning>"},
       {"<seed:think>", "</seed:think>"},
       {"◁think▷", "◁/think▷"},
       {"[THINK]", "[/THINK]"},
       {"<unused94>", "<unused95>"},
       {"<|channel|>analysis", "<|channel|>final<|message|>"}}};
  constexpr std::string_view kByteOrderMark = "\uFEFF";
  reply = trim(reply);
  if (reply.starts_with(kByteOrderMark)) reply = trim(reply.substr(kByteOrderMark.size()));
  for (const auto& [begin, end] : kThoughts) {
    if (!reply.starts_with(begin)) continue;
    const std::size_t place = reply.rfind(end);
    return place == std::string_view::npos ? reply.substr(reply.size()) : without_answer_marks(reply.substr(place + end.size()));
  }
  return without_answer_marks(reply);
}

/// The text after thoughts whose opening mark is part of the server's chat template, so that the reply has the closing mark
/// alone.
std::string_view without_opened_thoughts(std::string_view text) {
  const std::size_t end = text.find(kThoughtEnd);
  if (end == std::string_view::npos || text.find(kThoughtEnd, end + 1) != std::string_view::npos) return text;
  return trim(text.substr(end + kThoughtEnd.size()));
}

/// Whether a text has a label with a verdict; one at its end, as in "here is my verdict:", has none.
bool has_labelled_verdict(std::string_view text) {
  const std::string low = lower(text);
  std::string_view rest = low;
  skip_around_back(rest = trim(rest));
  for (const std::string_view colon : {":", "："}) {
    if (rest.ends_with(colon)) rest.remove_suffix(colon.size());
  }
  return has_verdict_label(rest);
}

/// @param text  a part of `whole`
Found find_json(std::string_view text, std::string_view whole, bool allow_tie) {
  const auto object = find_verdict_object(without_opened_thoughts(text));
  if (!object || has_labelled_verdict(object->before) || has_verdict_label(lower(object->after))) return {};
  static const Words kNumbers = {"1", "2", "1.0", "2.0"};
  const std::string value = lower(object->value);
  Found found = read_value(value, allow_tie);
  if (!object->quoted && std::ranges::find(kNumbers, value) != kNumbers.end()) {
    found = {value[0] == '1' ? preference::Verdict::first : preference::Verdict::second, 0, false};
  } else if (!object->quoted && !is_tie_word(value)) {
    return {};
  }
  found.at += static_cast<std::size_t>(object->value.data() - whole.data());
  return found;
}

/// Whether a text has a quoted key "verdict", so that lines alone do not tell what it says.
bool has_quoted_key(const std::string& low) {
  return low.find("verdict\"") != std::string::npos || low.find("verdict'") != std::string::npos;
}

/// The verdict in "<verdict>1</verdict>", if that is the last line and the text has no other such mark.
Found find_marked(std::string_view text, std::string_view whole, bool allow_tie) {
  constexpr std::string_view kBegin = "<verdict>", kEnd = "</verdict>";
  const std::string low = lower(text);
  const std::string_view all = trim(low);
  const std::string_view line = all.substr(all.find_last_of("\r\n") + 1);
  const std::size_t begin = low.find(kBegin);
  if (begin == std::string::npos || low.find(kBegin, begin + 1) != std::string::npos || !line.starts_with(kBegin) ||
      !line.ends_with(kEnd) || line.size() < kBegin.size() + kEnd.size())
    return {};
  Found found = read_value(line.substr(kBegin.size(), line.size() - kBegin.size() - kEnd.size()), allow_tie);
  found.at += begin + kBegin.size() + static_cast<std::size_t>(text.data() - whole.data());
  return found;
}

/// Finds the verdict in the form that the request named, or else in the other one, as a server may ignore the form.
/// @param text  the part of `whole` after the thoughts
Found find_in_forms(std::string_view text, std::string_view whole, AnswerForm form, bool allow_tie) {
  const auto known = [](const Found& found) { return found.verdict != preference::Verdict::unparsable; };
  const std::string low = lower(text);
  if (form == AnswerForm::verdict_line) {
    if (const Found line = find_line(text, whole, allow_tie, LineLabel::verdict); known(line)) return line;
  }
  if (const Found object = find_json(text, whole, allow_tie); known(object) || has_quoted_key(low)) return object;
  if (form == AnswerForm::json_schema) {
    if (const Found line = find_line(text, whole, allow_tie, LineLabel::verdict); known(line)) return line;
  }
  if (has_verdict_label(low)) return {};
  if (const Found marked = find_marked(text, whole, allow_tie); known(marked)) return marked;
  for (const LineLabel label : {LineLabel::judgement, LineLabel::answer}) {
    if (const Found line = find_line(text, whole, allow_tie, label); known(line)) return line;
  }
  return {};
}

/// Finds the verdict, of a reply that was cut off only in an object; nothing if another line gives another verdict, or what
/// follows takes it back.
Found find_verdict(std::string_view text, std::string_view whole, AnswerForm form, bool allow_tie, bool cut = false) {
  const Found found = cut ? find_json(text, whole, allow_tie) : find_in_forms(text, whole, form, allow_tie);
  if (found.verdict == preference::Verdict::unparsable || contradicts(text, found.verdict, allow_tie)) return {};
  return takes_back(lower(whole.substr(found.at)), found.verdict) ? Found{} : found;
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

}  // namespace

std::string_view to_string(AnswerForm form) { return form == AnswerForm::json_schema ? "json_schema" : "verdict_line"; }

preference::Verdict parse_verdict(std::string_view reply, AnswerForm form, bool allow_tie, bool cut) {
  const std::string_view text = without_thoughts(reply);
  const Found found = find_verdict(text, reply, form, allow_tie, cut);
  preference::Verdict verdict = found.verdict;
  if (verdict == preference::Verdict::unparsable && text.starts_with('"')) {  // an object within a JSON string
    const auto string = nlohmann::json::parse(text, nullptr, false);
    const std::string inner = string.is_string() ? string.get<std::string>() : "";
    if (trim(inner).starts_with('{')) verdict = find_json(inner, inner, allow_tie).verdict;
  }
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
    const preference::Verdict verdict = token_word(lower(*text), allow_tie, found.letter);
    if (verdict == preference::Verdict::first) first += *p;
    if (verdict == preference::Verdict::second) second += *p;
    if (verdict == preference::Verdict::tie) tie += *p;
  }
  const double sum = first + second + tie;
  return sum >= 0.5 ? std::optional((first + tie / 2) / sum) : std::nullopt;
}

}  // namespace dmoerm::judge
