// Intervals of figures.
#pragma once
#include <vector>

namespace dmoerm::eval {

struct Interval {
  double value = 0, low = 0, high = 0;
  bool bounded = false;  ///< Of exact bounds and not of resamples, see paired_difference.h
};

/// Wilson's 95 % interval of a share over `n` independent trials.
Interval wilson(double share, double n);

/// Percentile interval of draws around `value`. {value, value, value} without draws.
Interval percentile_interval(double value, std::vector<double> draws, double confidence = 0.95);

}  // namespace dmoerm::eval
