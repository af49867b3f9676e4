// Checks for well-formed UTF-8.
#pragma once
#include <cstddef>
#include <string_view>

namespace dmoerm {

/// Number of bytes, 1 to 4, of the character that starts at text[i]; 0 if the bytes there are not well-formed UTF-8. Overlong
/// sequences and surrogates are not well-formed.
inline std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U; };
  const auto follows = [&](std::size_t k, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(k) >= low && byte(k) <= high;
  };
  const unsigned first = byte(i);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(i + 1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    return follows(i + 1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && follows(i + 2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    return follows(i + 1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && follows(i + 2) && follows(i + 3) ? 4 : 0;
  }
  return 0;
}

/// The character of utf8_length(text, i) = `length` bytes at text[i].
inline char32_t utf8_character(std::string_view text, std::size_t i, std::size_t length) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  char32_t c = length == 1 ? byte(i) : byte(i) & (0x7FU >> length);
  for (std::size_t k = 1; k < length; ++k) c = c << 6U | (byte(i + k) & 0x3FU);
  return c;
}

/// Whether all of a text is well-formed UTF-8.
inline bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

}  // namespace dmoerm
