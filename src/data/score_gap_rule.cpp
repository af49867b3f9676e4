#include "data/score_gap_rule.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

namespace dmoerm::data {
namespace {

constexpr double kTolerance = 1e-9;  // relative: differences of decimal fractions are not exact

/// The number with three digits that is nearest below.
double three_digits_below(double number) {
  const double unit = std::pow(10.0, std::floor(std::log10(number)) - 2);
  return unit >= 1 ? std::floor(number * (1 + kTolerance) / unit) * unit
                   : std::floor(number * (1 + kTolerance) / unit) / std::round(1 / unit);
}

}  // namespace

void ScoreGapRule::add(const std::vector<double>& scores) {
  std::vector<double> known;
  std::ranges::copy_if(scores, std::back_inserter(known), [](double score) { return !std::isnan(score); });
  if (known.size() < 2) return;
  const double mean = std::accumulate(known.begin(), known.end(), 0.0) / static_cast<double>(known.size());
  for (const double score : known) squares_ += (score - mean) * (score - mean);
  freedom_ += std::ssize(known) - 1;
  std::ranges::sort(known);
  known.erase(std::ranges::unique(known).begin(), known.end());
  for (std::size_t i = 0; i < known.size(); ++i) {
    for (std::size_t j = i + 1; j < known.size() && gaps_.size() < kGapsMax; ++j) gaps_.insert(known[j] - known[i]);
  }
}

double ScoreGapRule::gap() const {
  if (gaps_.empty()) return 0;
  const double half = std::sqrt(squares_ / static_cast<double>(freedom_)) / 2;
  if (gaps_.size() == kGapsMax) return three_digits_below(half);
  const auto least = gaps_.lower_bound(half * (1 - kTolerance));  // there is one: the widest gap of some prompt is above the half
  return three_digits_below(least == gaps_.end() ? *gaps_.rbegin() : *least);
}

}  // namespace dmoerm::data
