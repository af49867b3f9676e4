#include "eval/significance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dmoerm::eval {

double mcnemar(std::int64_t first_only, std::int64_t second_only) {
  const auto n = static_cast<double>(first_only + second_only);
  if (n == 0) return 1;
  double tail = 0;
  for (std::int64_t k = 0; k <= std::min(first_only, second_only); ++k) {
    const auto x = static_cast<double>(k);
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) - n * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

double bootstrap_p(const std::vector<double>& differences) {
  const auto share = [&](auto&& on_side) {
    return static_cast<double>(1 + std::ranges::count_if(differences, on_side)) / static_cast<double>(differences.size() + 1);
  };
  return std::min(1.0, 2 * std::min(share([](double d) { return d <= 0; }), share([](double d) { return d >= 0; })));
}

double equivalence_p(const std::vector<double>& differences, double margin) {
  const auto share = [&](auto&& beyond) {
    return static_cast<double>(1 + std::ranges::count_if(differences, beyond)) / static_cast<double>(differences.size() + 1);
  };
  return std::max(share([&](double d) { return d <= -margin; }), share([&](double d) { return d >= margin; }));
}

std::vector<double> holm(const std::vector<double>& p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return p[i]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, p[order[rank]] * static_cast<double>(p.size() - rank));
    adjusted[order[rank]] = std::min(1.0, largest);
  }
  return adjusted;
}

}  // namespace dmoerm::eval
