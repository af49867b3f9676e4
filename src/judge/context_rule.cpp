#include "judge/context_rule.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace dmoerm::judge {
namespace {

constexpr std::int64_t kConversationShare = 4;  // the conversation keeps at least one part in 4 of the room

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

/// The largest number of bytes in 0 .. limit at which a text may be cut (`boundary`) and fits (`fits`). fits(0) must hold.
template <class Boundary, class Fits>
std::size_t longest(std::size_t limit, const Boundary& boundary, const Fits& fits) {
  std::size_t low = 0, high = limit;
  while (low < high) {
    std::size_t middle = low + (high - low + 1) / 2;
    while (middle < high && !boundary(middle)) ++middle;
    if (fits(middle)) {
      low = middle;
      continue;
    }
    do --middle;
    while (middle > low && !boundary(middle));
    high = middle;
  }
  return low;
}

constexpr std::size_t kLetters = 6, kLettersOfLongWords = 3;  // letters of a word that count one token
constexpr std::size_t kCoded = 24;                            // letters and digits in a row that may be coded data
constexpr std::size_t kWordsJudged = 16;                      // words from which a text shows how long its words are
constexpr std::size_t kSample = 4096;                         // bytes of a text that are looked at for this

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Whether a text is in a language of long words, such as Finnish, by the mean length of its words in Latin letters.
bool is_long_worded(std::string_view text) {
  constexpr double kMeanLength = 6.0;  // English has 4 to 5.5, German 5 to 6, Finnish 7 and more
  std::size_t words = 0, sum = 0;
  const std::size_t size = std::min(text.size(), kSample);
  for (std::size_t i = 0; i < size;) {
    const auto belongs = [&](char c) { return is_letter(c) || static_cast<unsigned char>(c) >= 0x80; };
    std::size_t characters = 0;
    bool latin = false;
    for (; i < size && belongs(text[i]); ++i) {
      latin = latin || is_letter(text[i]);
      characters += starts_character(text[i]) ? 1 : 0;
    }
    if (latin && characters <= kCoded) {
      ++words;
      sum += characters;
    }
    while (i < size && !belongs(text[i])) ++i;
  }
  return words >= kWordsJudged && static_cast<double>(sum) > kMeanLength * static_cast<double>(words);
}

/// Bytes of coded data (base64, a key) in front of a text: many letters and digits in a row, with capitals inside; 0 for other
/// text.
std::size_t coded_length(std::string_view text) {
  if (text.size() < kCoded || !(is_letter(text[0]) || is_digit(text[0]))) return 0;
  std::size_t length = 0, digits = 0, turns = 0;
  for (; length < text.size(); ++length) {
    const char c = text[length];
    if (!is_letter(c) && !is_digit(c) && c != '+' && c != '/' && c != '=') break;
    if (is_digit(c)) ++digits;
    const bool capital = c >= 'A' && c <= 'Z';
    if (capital && length > 0 && text[length - 1] >= 'a' && text[length - 1] <= 'z') ++turns;
  }
  return length >= kCoded && digits > 0 && turns * 10 >= length ? length : 0;
}

[[noreturn]] void too_small(std::int64_t room) {
  throw ConfigError(
      "judge-context-too-small",
      fmt::format(
          "the judge's context leaves {} tokens for the texts of a pair, besides the template and the answer, which is too "
          "few even for cut texts: use a judge with a larger context, lower max_tokens, or skip pairs that are too long",
          room));
}

std::string joined(const Turn& turn) { return turn.heading + '\n' + std::string(turn.text); }

std::string join(const std::vector<Turn>& turns, std::size_t from, std::string text = {}) {
  for (std::size_t i = from; i < turns.size(); ++i) text += (text.empty() ? "" : "\n\n") + joined(turns[i]);
  return text;
}

/// The end of the conversation within `room` tokens; "" if not even one character fits.
std::string cut_conversation(const ContextRule& rule, const std::vector<Turn>& turns, std::string_view mark, std::int64_t room) {
  for (std::size_t from = 1; from < turns.size(); ++from) {
    if (std::string text = join(turns, from, std::string(mark)); rule.count_tokens(text) <= room) return text;
  }
  const Turn& last = turns.back();
  const auto shown = [&](std::size_t bytes) {
    return fmt::format("{}\n{}\n{}", last.heading, mark, last.text.substr(last.text.size() - bytes));
  };
  const std::size_t bytes = longest(
      last.text.size(), [&](std::size_t n) { return n == last.text.size() || starts_character(last.text[last.text.size() - n]); },
      [&](std::size_t n) { return rule.count_tokens(shown(n)) <= room; });
  return bytes == 0 ? "" : shown(bytes);
}

/// The beginning of a response within `room` tokens; "" if not even one character fits.
std::string cut_response(const ContextRule& rule, std::string_view text, std::string_view mark, std::int64_t room) {
  const auto shown = [&](std::size_t bytes) { return fmt::format("{}\n{}", text.substr(0, bytes), mark); };
  const std::size_t bytes = longest(
      text.size(), [&](std::size_t n) { return n == text.size() || starts_character(text[n]); },
      [&](std::size_t n) { return rule.count_tokens(shown(n)) <= room; });
  return bytes == 0 ? "" : shown(bytes);
}

}  // namespace

std::int64_t estimate_tokens(std::string_view text) {
  const std::size_t letters = is_long_worded(text) ? kLettersOfLongWords : kLetters;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    std::size_t end = i + 1;
    if (const std::size_t length = coded_length(text.substr(i)); length > 0) {
      end = i + length;
      tokens += static_cast<std::int64_t>((4 * length + 4) / 5);
    } else if (is_letter(c)) {
      while (end < text.size() && is_letter(text[end])) ++end;
      tokens += static_cast<std::int64_t>((end - i + letters - 1) / letters);
    } else if (is_digit(c)) {
      while (end < text.size() && is_digit(text[end])) ++end;
      tokens += static_cast<std::int64_t>((2 * (end - i) + 2) / 3);
    } else if (c == ' ') {
      while (end < text.size() && text[end] == ' ') ++end;
      if (end - i > 1) ++tokens;
    } else if (static_cast<unsigned char>(c) < 0x80) {
      ++tokens;
    } else if (!starts_character(c) || static_cast<unsigned char>(c) >= 0xf0) {
      ++tokens;
    }
    i = end;
  }
  return tokens;
}

std::optional<Fitted> fit_texts(const ContextRule& rule, const std::vector<Turn>& conversation, std::string_view a,
                                std::string_view b, std::int64_t room, std::string_view conversation_mark,
                                std::string_view response_mark) {
  Fitted fitted{.conversation = join(conversation, 0), .a = std::string(a), .b = std::string(b)};
  std::int64_t of_conversation = rule.count_tokens(fitted.conversation), of_a = rule.count_tokens(a), of_b = rule.count_tokens(b);
  const auto too_long = [&] { return rule.context_tokens > 0 && of_conversation + of_a + of_b > room; };
  if (rule.context_tokens > 0 && room <= 0) too_small(room);
  if (too_long() && rule.too_long == ContextRule::TooLong::skip) return std::nullopt;
  if (too_long()) {
    const std::int64_t limit = std::max(room - of_a - of_b, room / kConversationShare);
    if ((fitted.conversation_cut = of_conversation > limit)) {
      fitted.conversation = cut_conversation(rule, conversation, conversation_mark, limit);
      if (fitted.conversation.empty()) too_small(room);
      of_conversation = rule.count_tokens(fitted.conversation);
    }
  }
  if (too_long()) {
    const std::int64_t left = room - of_conversation, limit = std::max(left / 2, left - std::min(of_a, of_b));
    for (const auto& [text, tokens, cut] :
         {std::tuple(&fitted.a, &of_a, &fitted.a_cut), std::tuple(&fitted.b, &of_b, &fitted.b_cut)}) {
      if (*tokens <= limit) continue;
      *text = cut_response(rule, *text, response_mark, limit);
      if (text->empty()) too_small(room);
      *tokens = rule.count_tokens(*text);
      *cut = true;
    }
  }
  fitted.tokens = of_conversation + of_a + of_b;
  return fitted;
}

}  // namespace dmoerm::judge
