// Text for terminals: widths in columns, and numbers in few characters. Untrusted text loses its control characters.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace dmoerm::watch {

/// The text as valid UTF-8 without control characters. Characters that a terminal would obey and bytes that are not valid become
/// '?'.
std::string printable(std::string_view text);
/// Number of columns of a printable text on a terminal. Combining characters take none, wide East Asian characters take two.
int columns_of(std::string_view text);
/// The text cut to at most `columns` columns. "…" replaces the end or, with `keep_end`, the beginning.
std::string cut_to(std::string_view text, int columns, bool keep_end = false);
/// The text padded with spaces to `columns` columns. @param right  whether the text goes to the right
std::string pad_to(std::string text, int columns, bool right = false);

/// "950", "12.3k", "4.56M"; "-" if not known.
std::string short_number(double value);
/// "0.1234" or, if the value is small or large, "1.23e-05"; "-" if not known.
std::string loss_text(double value);
/// Ascending numbers as ranges: "0-3,6" for 0, 1, 2, 3, 6.
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
