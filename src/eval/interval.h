// Intervals of figures.
#pragma once
#include <vector>

namespace dmoerm::eval {

struct Interval {
  double value = 0, low = 0, high = 0;
  bool bounded = false;  ///< Of exact bounds and not of resamples, see paired_difference.h
};

inline constexpr double kEqualResamples = 1e-9;  ///< Resamples that differ by less are equal but for rounding

/// Wilson's 95 % interval of a share over `n` independent trials.
Interval wilson(double share, double n);

/// The place `share` (0 to 1) of the way from the smallest to the largest of some values; between two of them in proportion:
/// definition 7 of Hyndman and Fan (The American Statistician 50, 1996), which is the default of numpy.percentile.
/// @param sorted  ascending, at least one
double percentile(const std::vector<double>& sorted, double share);

/// Percentile interval of draws around `value`, by percentile(). {value, value, value} without draws.
Interval percentile_interval(double value, std::vector<double> draws, double confidence = 0.95);

}  // namespace dmoerm::eval
