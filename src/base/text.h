// Small tools for texts: white space, case, lengths, and numbers as people read them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dmoerm {

/// The six ASCII characters that C's isspace() calls white space.
inline constexpr std::string_view kWhiteSpace = " \t\r\n\v\f";

/// Whether a text is empty or holds nothing but white space.
bool is_blank(std::string_view text);
/// Whether a text is empty or holds nothing that a reader could see: white space of any script, control characters, and
/// characters without width or shape (U+200B, U+FEFF, U+3164, ...). Bytes that are not UTF-8 count as seen.
bool shows_nothing(std::string_view text);
/// The text without the characters of `space` at its beginning and end.
std::string_view trim(std::string_view text, std::string_view space = kWhiteSpace);
/// The mark by which a chat template ends a turn or a text, such as "<|im_end|>", if the text ends with one; else "".
std::string_view end_mark_of(std::string_view text);
/// The text with the letters A to Z in lower case; other bytes stay.
std::string lower(std::string_view text);

/// Whether a byte continues a UTF-8 character that an earlier byte began.
constexpr bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }
/// Number of characters of a UTF-8 text.
std::size_t utf8_characters(std::string_view text);
/// At most `bytes` bytes from the start of the text; a character is kept whole or not at all.
std::string_view utf8_prefix(std::string_view text, std::size_t bytes);

/// "71.4 %"; "-" for NaN or infinity.
std::string percent_text(double share);
/// percent_text() of part / whole; "-" if `whole` is 0.
std::string percent_text(std::int64_t part, std::int64_t whole);
/// A time span as a clock shows it, "0:12:34" or "2d 03:04"; "-" if it is negative, NaN or longer than 30 years.
std::string clock_text(double seconds);
/// A time span in two units, "7.5 s", "42 s", "12 min 5 s", "3 h 20 min", "2 d 4 h".
std::string duration_text(double seconds);

}  // namespace dmoerm
