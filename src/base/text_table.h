// Tables for reports and terminals.
#pragma once
#include <string>
#include <vector>

namespace dmoerm {

/// A Markdown table whose columns are aligned, so that it reads well as plain text too. The first row is the header.
std::string markdown_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace dmoerm
