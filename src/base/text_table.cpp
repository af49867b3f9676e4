#include "base/text_table.h"

#include <algorithm>

#include "base/text.h"

namespace dmoerm {
namespace {

/// A text that stays in its cell: Markdown ends a cell at a bar, and a table at a line end.
std::string cell_text(const std::string& text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c == '\n' || c == '\r' ? ' ' : c;
  }
  return cell;
}

}  // namespace

std::string markdown_table(const std::vector<std::vector<std::string>>& texts) {
  std::vector<std::vector<std::string>> rows = texts;
  for (auto& row : rows) std::ranges::transform(row, row.begin(), cell_text);
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 3);
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], utf8_characters(row[c]));
  }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const std::string cell = c < rows[r].size() ? rows[r][c] : "";
      text += "| " + cell + std::string(widths[c] - utf8_characters(cell) + 1, ' ');
    }
    text += "|\n";
    if (r > 0) continue;
    for (const std::size_t w : widths) text += "|" + std::string(w + 2, '-');
    text += "|\n";
  }
  return text;
}

}  // namespace dmoerm
