#include "config/odd_characters.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"

namespace dmoerm::config {
namespace {

struct Look {
  char32_t first, last;
  const char* name;
  const char* instead;
};

constexpr std::array kLooks = {
    Look{0x00A0, 0x00A0, "a no-break space", "a blank"},
    Look{0x00AD, 0x00AD, "a soft hyphen", "nothing"},
    Look{0x2000, 0x200A, "a blank of another width", "a blank"},
    Look{0x200B, 0x200F, "a character without width", "nothing"},
    Look{0x2010, 0x2015, "a typographic dash", "-"},
    Look{0x2018, 0x2019, "a typographic quote", "'"},
    Look{0x201C, 0x201F, "a typographic quote", "\""},
    Look{0x2028, 0x2029, "a line separator", "a line end"},
    Look{0x202A, 0x202E, "a mark of writing direction", "nothing"},
    Look{0x202F, 0x202F, "a narrow no-break space", "a blank"},
    Look{0x205F, 0x205F, "a blank of another width", "a blank"},
    Look{0x2060, 0x2060, "a character without width", "nothing"},
    Look{0x2212, 0x2212, "a minus sign of mathematics", "-"},
    Look{0x3000, 0x3000, "a wide blank", "a blank"},
    Look{0xFE55, 0xFE55, "a small colon", ":"},
    Look{0xFEFF, 0xFEFF, "a byte-order mark", "nothing"},
};

std::string described(char32_t c) {
  const auto shown = [&](const std::string& name, const std::string& instead) {
    return fmt::format(" (it holds {}, U+{:04X}: write {})", name, static_cast<std::uint32_t>(c), instead);
  };
  if (c >= 0xFF01 && c <= 0xFF5E) {  // the full-width forms of ASCII
    const char plain = static_cast<char>(c - 0xFF01 + 0x21);
    return shown(fmt::format("a full-width {}", plain), std::string(1, plain));
  }
  const auto* look = std::ranges::find_if(kLooks, [&](const Look& l) { return l.first <= c && c <= l.last; });
  return look == kLooks.end() ? "" : shown(look->name, look->instead);
}

}  // namespace

std::string odd_character(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return "";
    if (std::string what = described(utf8_character(text, i, length)); !what.empty()) return what;
    i += length;
  }
  return "";
}

}  // namespace dmoerm::config
