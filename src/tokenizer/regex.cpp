#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <cctype>

#include "base/error.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unicode_tables.h"

namespace dmoerm::tokenizer {

template <class T, void (*kFree)(T*)>
struct Freed {
  void operator()(T* object) const { kFree(object); }
};
template <class T, void (*kFree)(T*)>
using Handle = std::unique_ptr<T, Freed<T, kFree>>;

struct TokenizerRegex::Code {
  Handle<pcre2_code, pcre2_code_free> pointer;
};

struct RegexScratch {
  Handle<pcre2_match_data, pcre2_match_data_free> match_data{pcre2_match_data_create(1, nullptr)};
  Handle<pcre2_match_context, pcre2_match_context_free> context{pcre2_match_context_create(nullptr)};
  Handle<pcre2_jit_stack, pcre2_jit_stack_free> stack{pcre2_jit_stack_create(1 << 15, 1 << 22, nullptr)};

  RegexScratch() {
    constexpr std::uint32_t step_limit = 20'000'000;
    pcre2_set_match_limit(context.get(), step_limit);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

namespace {

constexpr std::string_view kSpaces =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kSupported =
    "literals, classes without nesting or &&, \\s \\S \\w \\d \\D \\p{category} \\P{category} \\p{Han}, escapes of control "
    "characters and "
    "punctuation, groups ( (?: (?i: (?= (?! (?<= (?<! (?>, alternatives, repeats, ^ $ .";

void append_range(std::string& out, char32_t first, char32_t last) {
  out += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", +first, +last);
}

/// The two-letter name of a category, as in \p{..}.
std::string_view short_name(utf8proc_category_t category) {
  constexpr std::array<std::string_view, 30> names = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                                      "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                                      "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
  return names[static_cast<std::size_t>(category)];
}

/// The items of a class for \p{name}: the property, and recent characters that PCRE2 may not know.
std::string property_items(std::string_view name) {
  std::string items = fmt::format("\\p{{{}}}", name);
  for (const auto& range : unicode::recent())
    if (short_name(range.category).starts_with(name)) append_range(items, range.first, range.last);
  return items;
}

class Translator {
 public:
  Translator(std::string_view pattern, const JsonPart& where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        character_class();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        interval();
      } else {
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    where_.fail(fmt::format("\"{}\" at byte {} of the pattern is not supported; supported: {}", what, at_, kSupported));
  }

  char peek(std::size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  void group() {
    if (peek(1) == '?') {
      const std::string_view rest = in_.substr(at_);
      std::string_view found;
      for (const std::string_view start : {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"})
        if (rest.starts_with(start)) found = start;
      if (found.empty()) refuse(rest.substr(0, 4));
      out_ += found;
      at_ += found.size();
      return;
    }
    if (peek(1) == '*') refuse("(*");
    out_ += '(';
    ++at_;
  }

  /// A repeat {n,m}. For Oniguruma a plus after it repeats the repeat; for PCRE2 it makes the repeat possessive.
  void interval() {
    const std::size_t close = in_.find('}', at_);
    if (close == std::string_view::npos ||
        in_.substr(at_ + 1, close - at_ - 1).find_first_not_of("0123456789,") != std::string_view::npos || peek(1) == ',' ||
        peek(1) == '}')
      refuse("{");
    out_ += in_.substr(at_, close + 1 - at_);
    at_ = close + 1;
    if (peek(0) == '+') refuse("}+");
  }

  void character_class() {
    out_ += '[';
    ++at_;
    if (peek(0) == '^') {
      out_ += '^';
      ++at_;
    }
    if (peek(0) == ']') refuse("[]");
    while (peek(0) != ']') {
      if (at_ >= in_.size()) where_.fail("a class of the pattern is not closed");
      if (peek(0) == '[') refuse("[ inside a class");
      if (peek(0) == '&' && peek(1) == '&') refuse("&&");
      if (peek(0) == '\\') {
        escape(true);
      } else {
        out_ += in_[at_++];
      }
    }
    out_ += ']';
    ++at_;
  }

  /// Write the items of a class, inside a new class if the position is not in one.
  void items(bool in_class, bool negated, std::string_view content) {
    if (in_class && negated) refuse("a negated class inside a class");
    out_ += in_class ? std::string(content) : fmt::format("[{}{}]", negated ? "^" : "", content);
  }

  void escape(bool in_class) {
    const char c = peek(1);
    const std::string_view shown = in_.substr(at_, 2);
    switch (c) {
      case 's':
        items(in_class, false, kSpaces);
        break;
      case 'S':
        items(in_class, true, kSpaces);
        break;
      case 'd':
        items(in_class, false, property_items("Nd"));
        break;
      case 'D':
        items(in_class, true, property_items("Nd"));
        break;
      case 'w':
        items(in_class, false,
              property_items("L") + property_items("M") + property_items("Nd") +
                  R"(\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})");
        break;
      case 'p':
      case 'P':
        return property(in_class);
      case 'r':
      case 'n':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        out_ += shown;
        break;
      case 'v':
        out_ += "\\x0b";
        break;
      case 'x':
      case 'u':
        return code_point(c == 'u');
      default:
        if (c == '\0' || static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0) refuse(shown);
        out_ += shown;
    }
    at_ += 2;
  }

  /// \p{L}, \p{Lu}, \p{^L}, \P{L}, \p{Han}.
  void property(bool in_class) {
    const std::size_t close = in_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) refuse(in_.substr(at_, 3));
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    bool negated = peek(1) == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    std::string content;
    if (name == "Han") {
      for (const auto& range : unicode::han()) append_range(content, range.first, range.last);
    } else {
      bool known = false;
      for (int category = 1; category < 30; ++category) {
        const auto full = short_name(static_cast<utf8proc_category_t>(category));
        known = known || full == name || (full.substr(0, 1) == name && name != "C");
      }
      if (!known || name == "Cs") refuse(in_.substr(at_, close + 1 - at_));
      content = property_items(name);
    }
    items(in_class, negated, content);
    at_ = close + 1;
  }

  /// \xHH, \x{H...}, \uHHHH.
  void code_point(bool four_digits) {
    std::size_t begin = at_ + 2, length = four_digits ? 4 : 2;
    const bool braces = !four_digits && peek(2) == '{';
    if (braces) {
      const std::size_t close = in_.find('}', at_);
      if (close == std::string_view::npos) refuse("\\x{");
      begin = at_ + 3;
      length = close - begin;
    }
    const std::string digits(in_.substr(std::min(begin, in_.size()), length));
    if (digits.empty() || digits.size() != length || digits.size() > 6 ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
      refuse(in_.substr(at_, 4));
    const unsigned long c = std::stoul(digits, nullptr, 16);
    if (c > 0x10FFFF || (!four_digits && !braces && c > 0x7F)) refuse(in_.substr(at_, 4));  // \x80 is a byte in Oniguruma
    out_ += fmt::format("\\x{{{:x}}}", c);
    at_ = begin + length + (braces ? 1 : 0);
  }

  std::string_view in_;
  const JsonPart& where_;
  std::string out_;
  std::size_t at_ = 0;
};

}  // namespace

std::string pcre2_pattern(std::string_view pattern, const JsonPart& where) { return Translator(pattern, where).run(); }

TokenizerRegex::TokenizerRegex(const JsonPart& pattern) {
  constexpr std::size_t longest = 1 << 14;
  const std::string& original = pattern.text();
  if (original.size() > longest)
    pattern.fail(fmt::format("the pattern has {} bytes, at most {} are supported", original.size(), longest));
  where_ = original.substr(0, 60);
  const std::string translated = pcre2_pattern(original, pattern);
  int error = 0;
  PCRE2_SIZE at = 0;
  const Handle<pcre2_compile_context, pcre2_compile_context_free> context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK, &error, &at, context.get());
  if (code == nullptr) {
    std::array<PCRE2_UCHAR, 200> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    pattern.fail(fmt::format("not a valid pattern: {}", reinterpret_cast<const char*>(message.data())));
  }
  code_ = std::make_shared<const Code>(Code{Handle<pcre2_code, pcre2_code_free>(code)});
  std::uint32_t empty = 0;
  pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty);
  if (empty != 0) pattern.fail("the pattern can match the empty text, which is not supported");
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without JIT the interpreter runs the pattern
}

void TokenizerRegex::find(std::string_view text, Piece piece, PieceScratch& scratch, std::vector<Match>& matches) const {
  if (!scratch.regex) scratch.regex = std::make_shared<RegexScratch>();
  const RegexScratch& regex = *scratch.regex;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data()) + piece.begin;
  const std::uint32_t size = piece.end - piece.begin;
  const auto add = [&](std::uint32_t begin, std::uint32_t end, bool is_match) {
    matches.push_back({piece.begin + begin, piece.begin + end, is_match});
  };
  std::uint32_t done = 0;
  while (done < size) {
    const int count =
        pcre2_match(code_->pointer.get(), subject, size, done, PCRE2_NO_UTF_CHECK, regex.match_data.get(), regex.context.get());
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0)
      throw DataError(
          "split-pattern-too-slow",
          fmt::format("the split pattern \"{}\" needs too many steps on a text of {} bytes (PCRE2 error {}): shorten the text",
                      where_, size, count));
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(regex.match_data.get());
    const auto begin = static_cast<std::uint32_t>(ends[0]), end = static_cast<std::uint32_t>(ends[1]);
    if (begin > done) add(done, begin, false);
    add(begin, end, true);
    done = end;
  }
  if (done < size) add(done, size, false);
}

}  // namespace dmoerm::tokenizer
