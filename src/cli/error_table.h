// The rows of docs/errors.md.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::cli {

/// A row of the document.
struct ErrorRow {
  std::string code, meaning, advice;
};
/// The rows of all codes that the program uses now, in the document's order. @param document  its Markdown
std::vector<ErrorRow> error_rows(std::string_view document);
/// The codes that are most like `word`, the likest first: at most `most` of them.
std::vector<std::string> similar_codes(const std::vector<ErrorRow>& rows, std::string_view word, std::size_t most);

}  // namespace dmoerm::cli
