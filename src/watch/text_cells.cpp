#include "watch/text_cells.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace dmoerm::watch {
namespace {

struct Character {
  std::uint32_t code = '?';
  std::size_t bytes = 1;
  bool valid = false;
};

/// The UTF-8 character at the start of `text`, which is not empty.
Character character_at(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  std::uint32_t code = lead & (0xffU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return {};
    code = code << 6U | (byte(i) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> kLowest = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLowest[bytes] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
  return {code, bytes, true};
}

bool within(std::uint32_t code, std::uint32_t first, std::uint32_t last) { return code >= first && code <= last; }

bool is_control(std::uint32_t c) {
  // These include the characters that change the direction of writing, which can make one text look like another.
  return c < 0x20 || within(c, 0x7f, 0x9f) || within(c, 0x2028, 0x202e) || within(c, 0x2066, 0x2069);
}

int width_of(std::uint32_t c) {
  if (within(c, 0x300, 0x36f) || within(c, 0x200b, 0x200f) || within(c, 0xfe00, 0xfe0f)) return 0;
  if (within(c, 0x1100, 0x115f) || within(c, 0x2e80, 0xa4cf) || within(c, 0xac00, 0xd7a3) || within(c, 0xf900, 0xfaff) ||
      within(c, 0xfe30, 0xfe6f) || within(c, 0xff00, 0xff60) || within(c, 0xffe0, 0xffe6) || within(c, 0x1f300, 0x1faff) ||
      within(c, 0x20000, 0x3fffd))
    return 2;
  return 1;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const Character c = character_at(text);
    clean += c.valid && !is_control(c.code) ? text.substr(0, c.bytes) : "?";
    text.remove_prefix(c.bytes);
  }
  return clean;
}

int columns_of(std::string_view text) {
  int columns = 0;
  while (!text.empty()) {
    const Character c = character_at(text);
    columns += width_of(c.code);
    text.remove_prefix(c.bytes);
  }
  return columns;
}

std::string cut_to(std::string_view text, int columns, bool keep_end) {
  const int all = columns_of(text);
  if (all <= columns) return std::string(text);
  if (columns <= 0) return "";
  if (keep_end) {
    int left = all;
    while (left > columns - 1) {
      const Character c = character_at(text);
      left -= width_of(c.code);
      text.remove_prefix(c.bytes);
    }
    return "…" + std::string(text);
  }
  std::string kept;
  int used = 0;
  while (!text.empty()) {
    const Character c = character_at(text);
    if (used + width_of(c.code) > columns - 1) break;
    used += width_of(c.code);
    kept += text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
  }
  return kept + "…";
}

std::string pad_to(std::string text, int columns, bool right) {
  const std::string fill(static_cast<std::size_t>(std::max(0, columns - columns_of(text))), ' ');
  return right ? fill + text : text + fill;
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return "-";
  constexpr std::array kUnits = {"", "k", "M", "G", "T", "P"};
  std::size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  const int digits = unit == 0               ? (std::abs(value) < 10 && value != std::floor(value) ? 1 : 0)
                     : std::abs(value) < 10  ? 2
                     : std::abs(value) < 100 ? 1
                                             : 0;
  return fmt::format("{:.{}f}{}", value, digits, kUnits[unit]);
}

std::string loss_text(double value) {
  if (!std::isfinite(value)) return "-";
  const double size = std::abs(value);
  return size == 0 || (size >= 1e-3 && size < 1e4) ? fmt::format("{:.4f}", value) : fmt::format("{:.2e}", value);
}

}  // namespace dmoerm::watch
