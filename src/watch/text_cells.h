// Text for terminals: widths in columns, times and numbers in few characters. Untrusted text comes out without control
// characters.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace dmoerm::watch {

/// Valid UTF-8 without control characters: what a terminal would obey, and bytes that are no text, become '?'.
std::string printable(std::string_view text);
/// Columns that a terminal gives printable text: none for combining characters, two for East Asian wide ones.
int columns_of(std::string_view text);
/// At most `columns` wide; what is cut is replaced by "…" at the end or, with `keep_end`, at the beginning.
std::string cut_to(std::string_view text, int columns, bool keep_end = false);
/// Filled with spaces up to `columns`.
std::string pad_to(std::string text, int columns, bool right = false);

/// "950", "12.3k", "4.56M"; "-" if not known.
std::string short_number(double value);
/// "{:.4f}" or, if small or large, "{:.3e}"; "-" if not known.
std::string loss_text(double value);
/// "0-3,6" of 0, 1, 2, 3, 6.
template <class Numbers>
std::string ranges_text(const Numbers& ascending) {
  std::string text;
  for (auto it = ascending.begin(); it != ascending.end();) {
    auto last = it;
    while (std::next(last) != ascending.end() && *std::next(last) == *last + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(*it);
    if (last != it) text += "-" + std::to_string(*last);
    it = std::next(last);
  }
  return text;
}

}  // namespace dmoerm::watch
