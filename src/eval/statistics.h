// Accuracies with intervals. The bootstrap draws prompts, not pairs or rows of data, because the pairs of one prompt are not
// independent, whether one row states them or several.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/text_table.h"
#include "eval/interval.h"

namespace dmoerm::eval {

/// Result of a model on one group.
struct GroupResult {
  double right = 0;  ///< Pairs ordered correctly
  double pairs = 0;
  std::int64_t prompt = -1;  ///< Number of its prompt: groups with one number are drawn together; -1 = none has the same
};

/// The results summed over the groups of each prompt, in the order of the prompts' first groups.
std::vector<GroupResult> by_prompt(const std::vector<GroupResult>& results);

/// Share of pairs ordered correctly, with the percentile bootstrap interval (95 %) over prompts; where all resamples agree
/// (everything correct, a single prompt), with Wilson's interval, counting a prompt as one trial. {0.5, 0, 1} without pairs.
Interval bootstrap_accuracy(const std::vector<GroupResult>& results, std::uint64_t seed, int resamples = 2000);

/// Accuracy of `a` minus that of `b` on the same groups, whose prompts are drawn for both together; with bounds instead of
/// resamples where few prompts tell the two apart (paired_difference). @throws std::logic_error if their lengths differ
Interval bootstrap_difference(const std::vector<GroupResult>& a, const std::vector<GroupResult>& b, std::uint64_t seed,
                              int resamples = 2000);

/// Expected calibration error: the mean over `bins` equal bins of [0, 1], weighted by their members, of |mean confidence - share
/// of correct answers|. 0 without answers.
/// @see arXiv:1706.04599 section 2
double calibration_error(const std::vector<double>& confidence, const std::vector<bool>& right, int bins = 10);

using dmoerm::markdown_table;

/// "0.713 [0.660, 0.762]"
std::string to_string(const Interval& interval);

}  // namespace dmoerm::eval
