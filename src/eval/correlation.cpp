#include "eval/correlation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/text.h"

namespace dmoerm::eval {
namespace {

constexpr int kExactBits = 40;  // behind the first one of the largest value; scores of float32 have 24

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::int64_t pairs_of(std::string_view line, std::string_view mark) {
  std::int64_t found = 0;
  for (std::size_t at = line.find(mark); at != std::string_view::npos; at = line.find(mark, at + mark.size())) ++found;
  return found / 2;
}

bool is_item(std::string_view line) {
  if (line.size() > 1 && (line[0] == '-' || line[0] == '*' || line[0] == '+') && line[1] == ' ') return true;
  const std::size_t digits = std::min(line.find_first_not_of("0123456789"), line.size());
  return digits > 0 && digits < 4 && digits + 1 < line.size() && (line[digits] == '.' || line[digits] == ')') &&
         line[digits + 1] == ' ';
}

std::int64_t marks_of_line(std::string_view line) {
  line = trim(line);
  if (line.starts_with("```")) return 1;
  const std::size_t level = std::min(line.find_first_not_of('#'), line.size());
  const bool heading = level > 0 && level <= 6 && level < line.size() && line[level] == ' ';
  const bool starts = heading || is_item(line) || line.starts_with("> ") || (line.starts_with('|') && line.ends_with('|'));
  return (starts ? 1 : 0) + pairs_of(line, "**") + pairs_of(line, "`");
}

}  // namespace

std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last + 1 < order.size() && values[order[last + 1]] == values[order[first]]) ++last;
    for (std::size_t i = first; i <= last; ++i) ranks[order[i]] = 1 + static_cast<double>(first + last) / 2;
    first = last + 1;
  }
  return ranks;
}

void drop_rounding(std::vector<double>& differences, const std::vector<double>& values) {
  double largest = 0;
  for (const double v : values) largest = std::max(largest, std::abs(v));
  if (largest == 0) return;
  const int exponent = std::ilogb(largest) - kExactBits;
  for (double& d : differences) d = std::ldexp(std::round(std::ldexp(d, -exponent)), exponent);
}

double spearman(const std::vector<double>& x, const std::vector<double>& y) {
  if (x.size() != y.size() || x.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> a = ranks_of(x), b = ranks_of(y);
  const double mean_a = mean_of(a), mean_b = mean_of(b);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : std::numeric_limits<double>::quiet_NaN();
}

std::int64_t markdown_marks(std::string_view text) {
  std::int64_t marks = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    marks += marks_of_line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return marks;
}

}  // namespace dmoerm::eval
