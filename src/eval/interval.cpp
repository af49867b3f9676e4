#include "eval/interval.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::eval {

Interval wilson(double share, double n) {
  constexpr double kZ = 1.959964;
  const double spread = kZ * std::sqrt(share * (1 - share) / n + kZ * kZ / (4 * n * n)), weight = 1 + kZ * kZ / n;
  const double middle = share + kZ * kZ / (2 * n);
  return {share, std::max(0.0, (middle - spread) / weight), std::min(1.0, (middle + spread) / weight)};
}

double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const double low = sorted[below], high = sorted[std::min(below + 1, sorted.size() - 1)];
  return low == high ? low : low + (high - low) * (place - static_cast<double>(below));  // also of two infinite draws
}

Interval percentile_interval(double value, std::vector<double> draws, double confidence) {
  if (draws.empty()) return {value, value, value};
  std::ranges::sort(draws);
  return {value, percentile(draws, (1 - confidence) / 2), percentile(draws, (1 + confidence) / 2)};
}

}  // namespace dmoerm::eval
