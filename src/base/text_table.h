// Tables for reports and terminals.
#pragma once
#include <string>
#include <vector>

namespace dmoerm {

/// A Markdown table whose columns are aligned for reading as plain text too. The first row is the head.
std::string markdown_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace dmoerm
