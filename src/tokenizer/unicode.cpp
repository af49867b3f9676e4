#include "tokenizer/unicode.h"

#include <utf8proc.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "tokenizer/unicode_tables.h"

namespace dmoerm::tokenizer::unicode {
namespace {

constexpr char32_t kEnd = 0x110000;
constexpr std::uint16_t kMovesAll = kMovesNfc | kMovesNfd | kMovesNfkc | kMovesNfkd;

std::string normalize(std::string_view text, Form form) {
  int options = UTF8PROC_STABLE;
  options |= form == Form::nfc || form == Form::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == Form::nfkc || form == Form::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* raw = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &raw, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> result(raw, std::free);
  DMOERM_CHECK(length >= 0, utf8proc_errmsg(length));
  return {reinterpret_cast<const char*>(raw), static_cast<std::size_t>(length)};
}

std::uint16_t category_flags(utf8proc_category_t category) {
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kLetter | kWord;
    case UTF8PROC_CATEGORY_MN:
      return kMark | kWord | kNonspacing;
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark | kWord;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      return kNumber | kNumeric | kWord;
    case UTF8PROC_CATEGORY_NO:
      return kNumber | kNumeric;
    case UTF8PROC_CATEGORY_PC:
      return kPunctuation | kWord;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kPunctuation;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      return kOther;
    default:
      return 0;
  }
}

/// Flags for the normal forms that may change the character or join it to the one before.
std::uint16_t movement(char32_t c) {
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  const bool jamo = (c >= 0x1161 && c <= 0x1175) || (c >= 0x11A8 && c <= 0x11C2);
  if (property->combining_class != 0) return kMovesAll;
  std::uint16_t moves = 0;
  // These characters join the one before them: Hangul vowels and finals, and some spacing marks.
  if (jamo || property->category == UTF8PROC_CATEGORY_MC || property->category == UTF8PROC_CATEGORY_MN)
    moves |= kMovesNfc | kMovesNfkc;
  if (c >= 0xAC00 && c <= 0xD7A3) moves |= kMovesNfd | kMovesNfkd;
  if (property->decomp_seqindex != UINT16_MAX) {
    std::string text;
    append(text, c);
    if (normalize(text, Form::nfc) != text) moves |= kMovesNfc;
    if (normalize(text, Form::nfd) != text) moves |= kMovesNfd;
    if (normalize(text, Form::nfkc) != text) moves |= kMovesNfkc;
    if (normalize(text, Form::nfkd) != text) moves |= kMovesNfkd;
  }
  return moves;
}

template <class Ranges, class Change>
void for_each(const Ranges& ranges, Change change) {
  for (const auto& range : ranges)
    for (char32_t c = range.first; c <= range.last; ++c) change(c, range);
}

std::vector<std::uint16_t> build_flags() {
  std::vector<std::uint16_t> table(kEnd);
  for (char32_t c = 0; c < kEnd; ++c) {
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    if (category == UTF8PROC_CATEGORY_CN || category == UTF8PROC_CATEGORY_CS) continue;
    table[c] = static_cast<std::uint16_t>(category_flags(category) | movement(c));
  }
  const auto set = [&table](std::uint16_t flag, std::initializer_list<Range> ranges) {
    for_each(ranges, [&](char32_t c, const Range&) { table[c] |= flag; });
  };
  const auto clear = [&table](std::uint16_t flag, std::span<const Range> ranges) {
    for_each(ranges, [&](char32_t c, const Range&) { table[c] = static_cast<std::uint16_t>(table[c] & ~flag); });
  };
  for (const char32_t c : U"$+<=>^`|~")
    if (c != 0) table[c] |= kPunctuation;
  set(kSpace, {{0x09, 0x0D},
               {0x20, 0x20},
               {0x85, 0x85},
               {0xA0, 0xA0},
               {0x1680, 0x1680},
               {0x2000, 0x200A},
               {0x2028, 0x2029},
               {0x202F, 0x202F},
               {0x205F, 0x205F},
               {0x3000, 0x3000}});
  set(kWord, {{0x200C, 0x200D}, {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}});
  clear(kPunctuation, not_yet_punctuation());
  clear(kNonspacing, not_yet_nonspacing());
  clear(kMark, not_yet_mark());
  clear(kOther, not_yet_format());
  for_each(normalization_inert(),
           [&](char32_t c, const Range&) { table[c] = static_cast<std::uint16_t>((table[c] & ~kMovesAll) | kUnknownToForms); });
  constexpr std::uint16_t known_to_old = kPunctuation | kNonspacing | kMark | kOther;
  for_each(recent(), [&](char32_t c, const CategoryRange& range) {
    table[c] = static_cast<std::uint16_t>((category_flags(range.category) & ~known_to_old) | kUnknownToForms);
  });
  set(kPunctuation, {{0x166D, 0x166D}, {0x111C9, 0x111C9}});
  set(kNonspacing, {{0x1734, 0x1734}});
  set(kMark, {{0x1CF2, 0x1CF3}});
  set(kNumeric, {{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}});  // Unicode 17
  return table;
}

}  // namespace

namespace detail {
const std::uint16_t* flag_table() {
  static const std::vector<std::uint16_t> table = build_flags();
  return table.data();
}
}  // namespace detail

void append(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

namespace {

/// Number of bytes of the character at `at` if it is valid; otherwise minus the number of bytes (>= 1) that one U+FFFD replaces.
int sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  const int length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (length == 0) return -1;
  unsigned low = 0x80, high = 0xBF;  // these bounds exclude overlong sequences, surrogates and code points above U+10FFFF
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  for (int i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    const unsigned next_byte = byte(at + static_cast<std::size_t>(i));
    if (next_byte < low || next_byte > high) return -i;
  }
  return length;
}

}  // namespace

std::size_t valid_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight = 0;
    while (at + 8 <= text.size()) {
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & 0x8080808080808080ULL) != 0) break;
      at += 8;
    }
    if (at == text.size()) break;
    const int length = sequence_length(text, at);
    if (length < 0) return at;
    at += static_cast<std::size_t>(length);
  }
  return at;
}

std::string repair(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t good = valid_prefix(text);
    out.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) break;
    append(out, 0xFFFD);
    text.remove_prefix(static_cast<std::size_t>(-sequence_length(text, 0)));
  }
  return out;
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) return out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  if (c == 0x130) return append(out, U'i'), append(out, 0x307);
  // Capitals of Unicode 16 and 17.
  if (c == 0xA7CB) return append(out, 0x264);
  if (c == 0xA7DC) return append(out, 0x19B);
  if (c == 0x1C89 || c == 0xA7CC || c == 0xA7CE || c == 0xA7D2 || c == 0xA7D4 || c == 0xA7DA) return append(out, c + 1);
  if (c >= 0x10D50 && c <= 0x10D65) return append(out, c + 0x20);
  if (c >= 0x16EA0 && c <= 0x16EB8) return append(out, c + 0x1B);
  append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

void append_normalized(std::string& out, std::string_view text, Form form) {
  const std::uint16_t moves = form == Form::nfc    ? kMovesNfc
                              : form == Form::nfd  ? kMovesNfd
                              : form == Form::nfkc ? kMovesNfkc
                                                   : kMovesNfkd;
  const bool joins = form == Form::nfc || form == Form::nfkc;
  // Only runs of characters that may change go through utf8proc, with the character before them if they may join it.
  std::size_t copied = 0, last = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (const std::uint16_t here = flags(next(text, at)); (here & moves) == 0) {
      last = (here & kUnknownToForms) == 0 ? start : at;
      continue;
    }
    const std::size_t begin = joins ? last : start;
    for (std::size_t end = at; at < text.size(); at = end)
      if ((flags(next(text, end)) & moves) == 0) break;
    out.append(text.substr(copied, begin - copied));
    out.append(normalize(text.substr(begin, at - begin), form));
    copied = last = at;
  }
  out.append(text.substr(copied));
}

}  // namespace dmoerm::tokenizer::unicode
