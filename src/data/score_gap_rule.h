// How score_gap_min is chosen from data: the smallest gap between two scores that a configuration lets count as a preference.
#pragma once
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace dmoerm::data {

/// Collects the scores of one label, prompt by prompt. The gap is the smallest one between two scores of a prompt that is at
/// least half the standard deviation of the scores within prompts. Whole ratings so keep all their gaps, while of means of
/// several raters those are left out that another rater could have turned round.
class ScoreGapRule {
 public:
  /// The scores of one prompt, NaN for a response without one.
  void add(const std::vector<double>& scores);
  /// At most three digits, and never above the gap that it stands for; 0 if no prompt has two scores that differ.
  [[nodiscard]] double gap() const;

 private:
  static constexpr std::size_t kGapsMax = 1000;  ///< More different ones are a continuum, of which the half itself is a gap

  double squares_ = 0;  ///< Sum of the squared differences of scores from the mean of their prompt
  std::int64_t freedom_ = 0;
  std::set<double> gaps_;  ///< Gaps that occur; at most kGapsMax
};

}  // namespace dmoerm::data
