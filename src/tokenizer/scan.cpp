#include "tokenizer/scan.h"

#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

using unicode::flags;
using unicode::kLetter;
using unicode::kNumber;
using unicode::kSpace;

constexpr std::uint16_t kKinds = kLetter | kNumber | kSpace;

/// Reads one piece. Positions are byte offsets in the whole text.
struct Reader {
  std::string_view text;  // ends where the piece ends
  std::size_t at;

  [[nodiscard]] bool done() const { return at >= text.size(); }
  [[nodiscard]] char byte(std::size_t i) const { return i < text.size() ? text[i] : '\0'; }
  /// The kind of the character at `i`: kLetter, kNumber, kSpace or 0. `i` moves behind the character.
  [[nodiscard]] std::uint16_t kind(std::size_t& i) const { return flags(unicode::next(text, i)) & kKinds; }
  /// The position behind the characters of one kind that begin at `i`, at most `most` of them.
  [[nodiscard]] std::size_t run(std::size_t i, std::uint16_t wanted, int most = INT32_MAX) const {
    for (std::size_t next = i; i < text.size() && most > 0 && kind(next) == wanted; i = next) --most;
    return i;
  }
};

/// The end of a run of white space by `\s+(?!\S)|\s+`. It takes the whole run at the end of the text, and elsewhere the run
/// without its last character, but at least one character.
std::size_t end_of_spaces(const Reader& in, std::size_t begin) {
  std::size_t last = begin, end = begin;
  for (std::size_t next = begin; end < in.text.size() && in.kind(next) == kSpace; end = next) last = end;
  return end == in.text.size() || last == begin ? end : last;
}

/// Number of bytes of 's 't 're 've 'm 'll 'd at `at`; 0 if there is none. If case is ignored, s also matches the long s.
std::size_t contraction(const Reader& in, std::size_t at, bool any_case) {
  if (in.byte(at) != '\'') return 0;
  const auto letter = [&](std::size_t i) {
    const char c = in.byte(i);
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = letter(at + 1), second = letter(at + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
  if (any_case && in.text.substr(at + 1).starts_with("\xC5\xBF")) return 3;
  return 0;
}

template <class Step>
void scan(std::string_view text, Piece piece, std::vector<Piece>& out, Step step) {
  Reader in{text.substr(0, piece.end), piece.begin};
  while (!in.done()) {
    const std::size_t end = step(in);
    out.push_back({static_cast<std::uint32_t>(in.at), static_cast<std::uint32_t>(end)});
    in.at = end;
  }
}

}  // namespace

void scan_gpt2(std::string_view text, Piece piece, std::vector<Piece>& out) {
  scan(text, piece, out, [](const Reader& in) {
    if (const std::size_t length = contraction(in, in.at, false); length > 0) return in.at + length;
    std::size_t next = in.at;
    std::uint16_t kind = in.kind(next);
    if (in.byte(in.at) == ' ' && next < in.text.size()) kind = in.kind(next);  // a space joins the run behind it
    if (kind == kSpace) return end_of_spaces(in, in.at);
    return in.run(next, kind);
  });
}

void scan_llama3(std::string_view text, Piece piece, int digits, std::vector<Piece>& out) {
  scan(text, piece, out, [digits](const Reader& in) {
    if (const std::size_t length = contraction(in, in.at, true); length > 0) return in.at + length;
    std::size_t after_first = in.at;
    const std::uint16_t first = in.kind(after_first);
    if (first == kLetter) return in.run(after_first, kLetter);
    if (first == kNumber) return in.run(after_first, kNumber, digits - 1);
    const char byte = in.byte(in.at);
    const bool newline = byte == '\r' || byte == '\n';
    std::size_t after_second = after_first;
    const bool more = after_first < in.text.size();
    const std::uint16_t second = more ? in.kind(after_second) : std::uint16_t{kSpace};
    if (!newline && second == kLetter)
      return in.run(after_second, kLetter);  // one character of another kind joins the letters behind it
    if (first == 0 || (byte == ' ' && second == 0)) {
      std::size_t end = in.run(first == 0 ? after_first : after_second, 0);
      while (in.byte(end) == '\r' || in.byte(end) == '\n') ++end;
      return end;
    }
    // White space ends behind its last line end, if it has one.
    std::size_t after_newline = 0;
    for (std::size_t i = in.at, start = i; start < in.text.size() && in.kind(i) == kSpace; start = i)
      if (in.byte(start) == '\r' || in.byte(start) == '\n') after_newline = i;
    return after_newline > 0 ? after_newline : end_of_spaces(in, in.at);
  });
}

std::optional<KnownPattern> known_pattern(std::string_view pattern) {
  if (pattern == R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)") return KnownPattern{true, 0};
  constexpr std::string_view head = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})";
  constexpr std::string_view tail = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  if (!pattern.starts_with(head) || !pattern.ends_with(tail) || pattern.size() < head.size() + tail.size()) return std::nullopt;
  const std::string_view repeat = pattern.substr(head.size(), pattern.size() - head.size() - tail.size());
  if (repeat.empty()) return KnownPattern{false, 1};
  if (repeat == "{1,3}") return KnownPattern{false, 3};
  return std::nullopt;
}

}  // namespace dmoerm::tokenizer
