// UTF-8, character classes, lower case and normal forms, as the `tokenizers` package has them (unicode_tables.h says why they
// differ from the libraries used here).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace dmoerm::tokenizer::unicode {

/// The classes of a code point. A character may have several.
enum Flag : std::uint16_t {
  kLetter = 1,        ///< \p{L} of a split pattern
  kNumber = 2,        ///< \p{N} of a split pattern
  kSpace = 4,         ///< \s, and Rust's char::is_whitespace
  kNumeric = 8,       ///< Rust's char::is_numeric (Digits)
  kWord = 16,         ///< \w of the regex crate (Whitespace, single_word)
  kPunctuation = 32,  ///< ASCII punctuation or category P (Punctuation, BertPreTokenizer)
  kOther = 64,        ///< categories Cc, Cf, Co (BertNormalizer)
  kNonspacing = 128,  ///< category Mn (BertNormalizer)
  kMark = 256,        ///< category M (StripAccents)
  kMovesNfc = 512,    ///< may change, or join the character before it, in the normal form named
  kMovesNfd = 1024,
  kMovesNfkc = 2048,
  kMovesNfkd = 4096,
  kUnknownToForms = 8192,  ///< the normal forms do not change it, and nothing joins it
};

namespace detail {
const std::uint16_t* flag_table();
}

/// The flags of a code point below 0x110000.
inline std::uint16_t flags(char32_t c) {
  static const std::uint16_t* const table = detail::flag_table();
  return table[c];
}

/// The code point that starts at `at` in valid UTF-8. `at` moves behind it.
inline char32_t next(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t first = byte(at);
  if (first < 0x80) return ++at, first;
  if (first < 0xE0) return at += 2, (first & 0x1F) << 6 | (byte(at - 1) & 0x3F);
  if (first < 0xF0) return at += 3, (first & 0x0F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
  return at += 4, (first & 0x07) << 18 | (byte(at - 3) & 0x3F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
}

/// The code point that ends before `at` (> 0) in valid UTF-8. `at` moves to its start.
inline char32_t previous(std::string_view text, std::size_t& at) {
  do --at;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  std::size_t start = at;
  return next(text, start);
}

/// Append a code point as UTF-8.
void append(std::string& out, char32_t c);
/// Length of the longest valid UTF-8 at the start of `text`.
std::size_t valid_prefix(std::string_view text);
/// The text with U+FFFD in place of each longest invalid sequence, as Python's errors="replace" does it.
std::string repair(std::string_view text);
/// Append the lower-case form of a character. It does not depend on the context, so that there is no final sigma.
void append_lower(std::string& out, char32_t c);

enum class Form : std::uint8_t { nfc, nfd, nfkc, nfkd };
/// Append `text` (valid UTF-8) in a normal form.
void append_normalized(std::string& out, std::string_view text, Form form);

}  // namespace dmoerm::tokenizer::unicode
