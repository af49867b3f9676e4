// Accuracies with intervals. The bootstrap draws groups, not pairs, because the pairs of one group are not independent.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/text_table.h"

namespace dmoerm::run {

/// Result of a model on one group.
struct GroupResult {
  double right = 0;  ///< Pairs ordered correctly
  double pairs = 0;
};

struct Interval {
  double value = 0, low = 0, high = 0;
};

/// Share of pairs ordered correctly, with the percentile bootstrap interval (95 %) over groups; where all resamples agree
/// (everything correct, a single group), with Wilson's interval, counting a group as one trial. {0.5, 0, 1} without pairs.
Interval bootstrap_accuracy(const std::vector<GroupResult>& results, std::uint64_t seed, int resamples = 2000);

/// Accuracy of `a` minus that of `b` on the same groups: both are drawn together. @throws std::logic_error if their lengths
/// differ
Interval bootstrap_difference(const std::vector<GroupResult>& a, const std::vector<GroupResult>& b, std::uint64_t seed,
                              int resamples = 2000);

/// Expected calibration error: the mean over `bins` equal bins of [0, 1], weighted by their members, of |mean confidence - share
/// of correct answers|. 0 without answers.
/// @see arXiv:1706.04599 section 2
double calibration_error(const std::vector<double>& confidence, const std::vector<bool>& right, int bins = 10);

using dmoerm::markdown_table;

/// "0.713 [0.660, 0.762]"
std::string to_string(const Interval& interval);

}  // namespace dmoerm::run
