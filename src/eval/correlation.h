// Rank correlation, and the marks of a text that scores should not depend on.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace dmoerm::eval {

/// Spearman's rank correlation; equal values share the mean of their ranks. NaN if one of the two lists is constant or has fewer
/// than two values.
double spearman(const std::vector<double>& x, const std::vector<double>& y);

/// Make differences equal that are equal but for rounding: ranks would make the difference between them a whole one.
/// @param values  what they are differences of
void drop_rounding(std::vector<double>& differences, const std::vector<double>& values);

/// Ranks from 1; equal values share the mean of their ranks.
std::vector<double> ranks_of(const std::vector<double>& values);

/// Number of Markdown marks in a text: headings, items of lists, quotes, fences and rows of tables at the beginning of lines, and
/// pairs of ** or ` within them.
std::int64_t markdown_marks(std::string_view text);

}  // namespace dmoerm::eval
