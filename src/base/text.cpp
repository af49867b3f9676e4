#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/utf8.h"

namespace dmoerm {

bool is_blank(std::string_view text) { return text.find_first_not_of(kWhiteSpace) == std::string_view::npos; }

namespace {

/// First and last characters of the ranges that show nothing: Unicode's White_Space, Cc, Default_Ignorable_Code_Point, controls
/// of annotations and hieroglyphs, and U+2800.
constexpr std::array<std::array<std::uint32_t, 2>, 26> kUnseen = {{
    {0x0000, 0x0020},   {0x007F, 0x00A0},   {0x00AD, 0x00AD},   {0x034F, 0x034F},   {0x061C, 0x061C},   {0x115F, 0x1160},
    {0x1680, 0x1680},   {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},
    {0x2800, 0x2800},   {0x3000, 0x3000},   {0x3164, 0x3164},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFB},   {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE007F}, {0xE0080, 0xE00FF},
    {0xE0100, 0xE01EF}, {0xE01F0, 0xE0FFF},
}};

}  // namespace

bool shows_nothing(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return false;
    const char32_t c = utf8_character(text, i, length);
    if (std::ranges::none_of(kUnseen, [&](const auto& range) { return range[0] <= c && c <= range[1]; })) return false;
    i += length;
  }
  return true;
}

std::string_view trim(std::string_view text, std::string_view space) {
  const std::size_t start = text.find_first_not_of(space);
  if (start == std::string_view::npos) return text.substr(text.size());
  return text.substr(start, text.find_last_not_of(space) - start + 1);
}

std::string_view end_mark_of(std::string_view text) {
  constexpr std::array<std::string_view, 13> kMarks = {"<|im_end|>",
                                                       "<|eot_id|>",
                                                       "<|endoftext|>",
                                                       "<|end_of_text|>",
                                                       "<|END_OF_TURN_TOKEN|>",
                                                       "<|end|>",
                                                       "<end_of_turn>",
                                                       "<|return|>",
                                                       "</s>",
                                                       "<eos>",
                                                       "<pad>",
                                                       "[EOS]",
                                                       "<｜end▁of▁sentence｜>"};
  const auto* const found = std::ranges::find_if(kMarks, [&](std::string_view mark) { return text.ends_with(mark); });
  return found == kMarks.end() ? std::string_view() : *found;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::size_t utf8_characters(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::ranges::count_if(text, continues_character));
}

std::string_view utf8_prefix(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && continues_character(text[bytes])) --bytes;
  return text.substr(0, bytes);
}

std::string percent_text(double share) { return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : "-"; }

std::string percent_text(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? "-" : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string clock_text(double seconds) {
  if (!(seconds < 1e9) || seconds < 0) return "-";
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  return s >= 86400 ? fmt::format("{}d {:02}:{:02}", s / 86400, s / 3600 % 24, s / 60 % 60)
                    : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string duration_text(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const std::int64_t s = std::llround(seconds);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 2 * 86400) return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
  return fmt::format("{} d {} h", s / 86400, s % 86400 / 3600);
}

}  // namespace dmoerm
