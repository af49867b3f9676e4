#include "judge/verdict_words.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace dmoerm::judge {
namespace {

using preference::Verdict;
using Words = std::vector<std::string_view>;

// Characters that may surround a value or a label without changing its meaning, including U+00A0, U+202F, U+3000, Chinese quotes
// and brackets, and the marks that some servers leave at the end of a reply.
const Words kAround = {" ",       "\t", "*",      "_",          "`",          "\"",      "'",         "[", "]",
                       "(",       ")",  "\u00a0", "\u202f",     "\u3000",     "“",       "”",         "„", "«",
                       "»",       "「", "」",     "【",         "】",         "（",      "）",        "$", "\\boxed{",
                       "\\text{", "}",  "</s>",   "<|im_end|>", "<|eot_id|>", "<|end|>", "<|return|>"};
const Words kStops = {".", "!", "。", "！"};
const Words kTie = {"tie", "draw", "平局", "平手"};
const Words kEqual = {"a tie",         "a draw",      "equal",    "equally good", "both are equally good",
                      "unentschieden", "gleichstand", "égalité",  "Égalité",      "empate",
                      "pareggio",      "一样好",      "不相上下", "持平",         "引き分け",
                      "무승부"};
const Words kNouns = {"response", "answer",  "reply",   "option",  "assistant", "candidate", "output",
                      "antwort",  "réponse", "Réponse", "reponse", "respuesta", "risposta",  "ответ",
                      "Ответ",    "回答",    "回复",    "答案",    "选项",      "응답",      "답변"};
const Words kArticles = {"the ", "die ", "la ", "l'"};
const Words kNumberMarks = {" ", "_", "-", "#", "no.", "nr.", "number", ":", "(", "（", "[", "\u00a0"};
const Words kBetter = {
    " is better",     " is the better response", " is the better one", " is the better", " is preferred", " wins", " ist besser",
    " est meilleure", " est la meilleure",       " es mejor",          "更好",           "较好",          "胜出",  "is better"};
// Nouns after which a letter names a response. "Option B" may be the answer to a question of the conversation.
const Words kResponses = {"response", "reply", "assistant", "candidate", "output", "回答", "回复", "응답"};
// What begins a reason after a verdict, with the characters that may stand before it; and what divides the sentences of a reason.
const Words kReasons = {" because ", " since ", " as it ",     " as the ", " due to ", " given that ", " weil ",
                        " denn ",    " car ",   " parce que ", " porque ", "因为",     "因為",         "由于"};
const Words kBeforeReason = {" ", ",", ";", "-", "–", "—", "，", "；"};
const Words kClauseEnds = {"\n", ".", ",", ";", ":", "!", "?", "。", "，", "；", "：", "！", "？"};
// What stands before the response that a sentence calls the better one.
const Words kChoices = {" is ", "prefer ", "choose ", "pick ", "选择", "是"};
// Numbers, letters and places of the two responses. Numbers in words need a noun beside them, or an article.
const std::array<Words, 2> kNumbers = {{{"1", "１"}, {"2", "２"}}};
const std::array<Words, 2> kLetters = {{{"a"}, {"b"}}};
const std::array<Words, 2> kSpelt = {{{"one", "一"}, {"two", "二"}}};
const std::array<Words, 2> kPlaces = {
    {{"first", "erste", "première", "premiere", "primera", "第一个", "第一個", "第1个", "第一"},
     {"second", "zweite", "deuxième", "deuxieme", "seconde", "segunda", "第二个", "第二個", "第2个", "第二"}}};

bool contains(const Words& words, std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); }

bool drop_front(std::string_view& text, const Words& pieces) {
  for (const std::string_view piece : pieces) {
    if (!text.starts_with(piece)) continue;
    text.remove_prefix(piece.size());
    return true;
  }
  return false;
}

bool drop_back(std::string_view& text, const Words& pieces) {
  for (const std::string_view piece : pieces) {
    if (!text.ends_with(piece)) continue;
    text.remove_suffix(piece.size());
    return true;
  }
  return false;
}

/// Which of the two responses a text names.
struct Side {
  int number = 0;      ///< 0 or 1
  std::size_t at = 0;  ///< Offset of the deciding byte in the text
  bool named = false;
  bool letter = false;
};

std::optional<int> index_in(const std::array<Words, 2>& words, std::string_view word) {
  for (int i = 0; i < 2; ++i) {
    if (contains(words[static_cast<std::size_t>(i)], word)) return i;
  }
  return std::nullopt;
}

/// Read "1", "response (1)", "the first response", "第一个回答", "response 1 is better".
std::optional<Side> read_side(std::string_view whole) {
  std::string_view text = whole;
  skip_around(text);
  skip_around_back(text);
  const auto side = [&](int number, std::string_view value, bool named, bool letter = false) {
    return Side{number, static_cast<std::size_t>(value.data() - whole.data()), named, letter};
  };
  std::string_view number_alone = text;  // "1", "#1", "no. 1"
  if (drop_front(number_alone, {"#", "no.", "no ", "nr.", "number "})) skip_around(number_alone);
  if (const auto number = index_in(kNumbers, number_alone)) return side(*number, number_alone, false);
  if (const auto letter = index_in(kLetters, text)) return side(*letter, text, false, true);
  if (const auto place = index_in(kPlaces, text)) return side(*place, text, true);
  if (drop_back(text, kBetter)) {
    skip_around_back(text);
    if (const auto number = index_in(kNumbers, text)) return side(*number, text, true);
    if (const auto letter = index_in(kLetters, text)) return side(*letter, text, true, true);
  }
  if (drop_front(text, kArticles)) skip_around(text);
  if (const auto place = index_in(kPlaces, text)) return side(*place, text, true);
  std::string_view first = text;  // "first response"
  if (drop_back(first, kNouns)) {
    skip_around_back(first);
    if (const auto place = index_in(kPlaces, first)) return side(*place, first, true);
  }
  const bool is_response = std::ranges::any_of(kResponses, [&](std::string_view noun) { return text.starts_with(noun); });
  if (!drop_front(text, kNouns)) return std::nullopt;
  while (drop_front(text, kNumberMarks)) continue;
  skip_around_back(text);
  for (const auto* words : {&kNumbers, &kSpelt}) {
    if (const auto number = index_in(*words, text)) return side(*number, text, true);
  }
  if (const auto letter = index_in(kLetters, text)) return side(*letter, text, is_response, true);
  return std::nullopt;
}

Found found_of(const Side& side, std::size_t start = 0) {
  return {side.number == 0 ? Verdict::first : Verdict::second, start + side.at, side.named, side.letter};
}

/// Read "1 > 2", "response 2 < response 1", "1 = 2".
std::optional<Found> read_order(std::string_view value, bool allow_tie) {
  struct Sign {
    std::string_view text;
    int better;  ///< Which operand is: 0 the left, 1 the right, 2 neither
  };
  constexpr std::array<Sign, 16> kSigns = {{{">>", 0},
                                            {"<<", 1},
                                            {"==", 2},
                                            {">", 0},
                                            {"<", 1},
                                            {"=", 2},
                                            {"＞", 0},
                                            {"＜", 1},
                                            {"＝", 2},
                                            {"≻", 0},
                                            {"≈", 2},
                                            {" is better than ", 0},
                                            {" ist besser als ", 0},
                                            {" est meilleure que ", 0},
                                            {"优于", 0},
                                            {"好于", 0}}};
  for (const Sign& sign : kSigns) {
    const std::size_t place = value.find(sign.text);
    if (place == std::string_view::npos) continue;
    const auto left = read_side(value.substr(0, place)), right = read_side(value.substr(place + sign.text.size()));
    if (!left || !right || left->number == right->number) return std::nullopt;
    if (sign.better == 2) return allow_tie ? std::optional(Found{Verdict::tie, left->at, true}) : std::nullopt;
    const int better = sign.better == 0 ? left->number : right->number;
    return Found{better == 0 ? Verdict::first : Verdict::second, left->at, true, left->letter};
  }
  return std::nullopt;
}

/// Read a value without a reason.
Found read_plain(std::string_view value, bool allow_tie) {
  const std::size_t start = skip_around(value);
  skip_around_back(value);
  while (drop_back(value, kStops)) continue;
  skip_around_back(value);
  if (contains(kTie, value) || contains(kEqual, value)) return allow_tie ? Found{Verdict::tie, start, true} : Found{};
  if (const auto side = read_side(value)) return found_of(*side, start);
  if (const std::size_t bracket = value.find('('); bracket != std::string_view::npos) {  // "1 (response 1)"
    const auto said = read_side(value.substr(0, bracket)), again = read_side(value.substr(bracket));
    if (said && again && said->number == again->number) {
      Found found = found_of(*said, start);
      found.named = said->named || again->named;
      return found;
    }
  }
  auto order = read_order(value, allow_tie);
  if (!order) return {};
  order->at += start;
  return *order;
}

/// Whether one of the last words before `end` in a clause name a response that the verdict does not prefer.
bool names_other_before(std::string_view clause, std::size_t end, Verdict verdict) {
  constexpr int kWords = 3;  // "the response 2"
  std::size_t start = end;
  for (int words = 0; words < kWords && start > 0 && start != std::string_view::npos; ++words) {
    start = clause.find_last_of(' ', start - 1);
    const std::size_t from = start == std::string_view::npos ? 0 : start + 1;
    const auto side = read_side(clause.substr(from, end - from));
    if (side && found_of(*side).verdict != verdict) return true;
  }
  return false;
}

/// Whether a clause says that the response of the verdict is worse than another.
bool calls_worse(std::string_view clause, Verdict verdict) {
  constexpr std::string_view kWorse = "worse than ";
  const std::size_t at = clause.find(kWorse);
  if (at == std::string_view::npos || clause.substr(0, at).ends_with("not ") || clause.substr(0, at).ends_with("no "))
    return false;
  const Found than = read_plain(clause.substr(at + kWorse.size()), false);
  return than.verdict != Verdict::unparsable && than.verdict != verdict;
}

/// Whether a clause says that another response is the better one than the verdict does.
bool speaks_against(std::string_view clause, Verdict verdict) {
  const auto is_other = [&](const Found& found) { return found.verdict != Verdict::unparsable && found.verdict != verdict; };
  if (is_other(read_plain(clause, true)) || calls_worse(clause, verdict)) return true;
  for (const std::string_view better : kBetter) {
    for (std::size_t at = 0; (at = clause.find(better, at)) != std::string_view::npos; at += better.size()) {
      if (names_other_before(clause, at, verdict)) return true;
    }
  }
  return std::ranges::any_of(kChoices, [&](std::string_view choice) {
    const std::size_t at = clause.rfind(choice);
    return at != std::string_view::npos && is_other(read_plain(clause.substr(at + choice.size()), true));
  });
}

/// Place and length of the first of some pieces in a text; its size and 0 if there is none.
std::pair<std::size_t, std::size_t> find_first(std::string_view text, const Words& pieces) {
  std::pair<std::size_t, std::size_t> first = {text.size(), 0};
  for (const std::string_view piece : pieces) {
    if (const std::size_t at = text.find(piece); at < first.first) first = {at, piece.size()};
  }
  return first;
}

/// Whether any clause of a text is so.
template <class Is>
bool any_clause(std::string_view text, const Is& is) {
  while (!text.empty()) {
    const auto [end, length] = find_first(text, kClauseEnds);
    if (is(text.substr(0, end))) return true;
    text.remove_prefix(end + length);
  }
  return false;
}

/// Whether any clause of a reason speaks against its verdict.
bool reason_speaks_against(std::string_view reason, Verdict verdict) {
  constexpr std::size_t kReasonMax = 4096;  // bytes; a longer one is not a reason
  return reason.size() > kReasonMax ||
         any_clause(reason, [&](std::string_view clause) { return speaks_against(clause, verdict); });
}

/// Place of what begins a reason behind a value without a word for it, "1 (clearer)", "1 - it is clearer"; the value's size if
/// there is none. Numbers in brackets may be a scale.
std::size_t bare_reason_at(std::string_view value) {
  const auto [dash, length] = find_first(value, {" - ", " – ", " — "});
  const std::size_t bracket = std::min(value.find(" ("), value.size()), at = std::min(dash, bracket);
  if (at == value.size()) return at;
  const std::string_view reason = value.substr(at + (at == dash ? length : 2));
  const bool is_number = !reason.empty() && reason.front() >= '0' && reason.front() <= '9';
  const bool has_number = at == bracket && reason.find_first_of("0123456789") != std::string_view::npos;
  return reason.empty() || is_number || has_number ? value.size() : at;
}

/// Read "1, because it is clearer", "response 1 is better. It is clearer".
Found read_with_reason(std::string_view value, bool allow_tie) {
  auto [reason_at, reason_length] = find_first(value, kReasons);
  if (const std::size_t bare = bare_reason_at(value); bare < reason_at) reason_at = bare, reason_length = 2;
  const std::size_t stop_at = std::min(value.find(". "), value.find("。"));
  const bool is_sentence = stop_at < reason_at;
  const std::size_t end = std::min(stop_at, reason_at);
  if (end >= value.size()) return {};
  std::string_view head = value.substr(0, end);
  while (!is_sentence && drop_back(head, kBeforeReason)) continue;
  const Found found = read_plain(head, allow_tie);
  // "1. ..." may be the first of a list.
  if (found.verdict == Verdict::unparsable || (is_sentence && !found.named)) return {};
  return reason_speaks_against(value.substr(end + (is_sentence ? 1 : reason_length)), found.verdict) ? Found{} : found;
}

}  // namespace

std::size_t skip_around(std::string_view& text) {
  const std::size_t before = text.size();
  while (drop_front(text, kAround)) continue;
  return before - text.size();
}

void skip_around_back(std::string_view& text) {
  while (drop_back(text, kAround)) continue;
}

Found read_value(std::string_view value, bool allow_tie) {
  const Found found = read_plain(value, allow_tie);
  return found.verdict == Verdict::unparsable ? read_with_reason(value, allow_tie) : found;
}

bool takes_back(std::string_view text, Verdict verdict) {
  constexpr std::size_t kTextMax = 4096;  // bytes that are looked at
  text = text.substr(0, kTextMax);
  const auto is_whole = [](std::string_view rest) {  // what follows "is better" does not say in what way
    skip_around_back(rest);
    return rest.empty() || rest.starts_with(" than") || rest.starts_with(" overall") || rest.starts_with(" after all");
  };
  return any_clause(text, [&](std::string_view clause) {
    return std::ranges::any_of(kBetter, [&](std::string_view better) {
      const std::size_t at = clause.find(better);
      return at != std::string_view::npos && is_whole(clause.substr(at + better.size())) &&
             names_other_before(clause, at, verdict);
    });
  });
}

Verdict token_word(std::string_view token, bool allow_tie, bool letters) {
  skip_around(token);
  if (allow_tie && !token.empty()) {
    for (const std::string_view tie : kTie) {  // the word may be several tokens
      if (tie.starts_with(token)) return Verdict::tie;
    }
  }
  const auto is_word = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  const auto end = static_cast<std::size_t>(std::find_if_not(token.begin(), token.end(), is_word) - token.begin());
  const std::string_view word = end == 0 ? token : token.substr(0, end);
  for (const auto* words : {&kNumbers, &kPlaces}) {
    if (const auto number = index_in(*words, word)) return *number == 0 ? Verdict::first : Verdict::second;
  }
  if (const auto letter = index_in(kLetters, word); letter && letters) return *letter == 0 ? Verdict::first : Verdict::second;
  return allow_tie && (contains(kTie, word) || contains(kEqual, word)) ? Verdict::tie : Verdict::unparsable;
}

bool is_tie_word(std::string_view word) { return contains(kTie, word); }

}  // namespace dmoerm::judge
