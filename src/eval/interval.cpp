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

Interval percentile_interval(double value, std::vector<double> draws, double confidence) {
  if (draws.empty()) return {value, value, value};
  std::ranges::sort(draws);
  const auto at = [&](double q) {
    return draws[static_cast<std::size_t>(std::lround(q * static_cast<double>(draws.size() - 1)))];
  };
  return {value, at((1 - confidence) / 2), at((1 + confidence) / 2)};
}

}  // namespace dmoerm::eval
