#include "eval/calibration.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::eval {

std::vector<ReliabilityBin> reliability(const std::vector<double>& gaps, int bins) {
  std::vector<ReliabilityBin> result(static_cast<std::size_t>(bins));
  const double width = 0.5 / bins;
  for (int i = 0; i < bins; ++i) {
    result[static_cast<std::size_t>(i)].low = 0.5 + width * i;
    result[static_cast<std::size_t>(i)].high = 0.5 + width * (i + 1);
  }
  for (const double gap : gaps) {
    const double confidence = 1 / (1 + std::exp(-std::abs(gap)));
    ReliabilityBin& bin = result[static_cast<std::size_t>(std::clamp(static_cast<int>((confidence - 0.5) / width), 0, bins - 1))];
    bin.count += 1;
    bin.confidence += confidence;
    bin.right += gap > 0 ? 1 : gap == 0 ? 0.5 : 0;
  }
  for (ReliabilityBin& bin : result) {
    if (bin.count == 0) continue;
    bin.confidence /= bin.count;
    bin.right /= bin.count;
  }
  return result;
}

double calibration_error(const std::vector<ReliabilityBin>& bins) {
  double error = 0, count = 0;
  for (const ReliabilityBin& bin : bins) {
    error += bin.count * std::abs(bin.confidence - bin.right);
    count += bin.count;
  }
  return count > 0 ? error / count : 0;
}

double log_loss(const std::vector<double>& gaps, double temperature) {
  double sum = 0;
  for (const double gap : gaps) {
    const double x = gap / temperature;
    sum += x > 0 ? std::log1p(std::exp(-x)) : std::log1p(std::exp(x)) - x;
  }
  return gaps.empty() ? 0 : sum / static_cast<double>(gaps.size());
}

std::optional<double> best_temperature(const std::vector<double>& gaps) {
  double sum = 0, largest = 0, lowest = 0;
  for (const double gap : gaps) sum += gap, largest = std::max(largest, std::abs(gap)), lowest = std::min(lowest, gap);
  if (largest == 0) return 1;
  if (lowest == 0 || sum <= 0) return std::nullopt;
  // The loss is convex in 1 / T, so it has one valley in log T: golden sections.
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double low = std::log(largest * 1e-3), high = std::log(largest * 1e3);
  const auto loss = [&](double log_t) { return log_loss(gaps, std::exp(log_t)); };
  double a = high - golden * (high - low), b = low + golden * (high - low), at_a = loss(a), at_b = loss(b);
  for (int i = 0; i < 60; ++i) {
    if (at_a < at_b) {
      high = b, b = a, at_b = at_a;
      a = high - golden * (high - low), at_a = loss(a);
    } else {
      low = a, a = b, at_a = at_b;
      b = low + golden * (high - low), at_b = loss(b);
    }
  }
  return std::exp((low + high) / 2);
}

}  // namespace dmoerm::eval
