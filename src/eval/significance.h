// Tests of two models on the same data.
#pragma once
#include <cstdint>
#include <vector>

namespace dmoerm::eval {

/// McNemar's exact test, two-sided: the probability that a fair coin, thrown first_only + second_only times, falls at least as
/// unevenly. 1 if both are 0.
/// @param first_only, second_only  cases that only one of the two models has right
double mcnemar(std::int64_t first_only, std::int64_t second_only);

/// Two-sided p-value of "there is no difference" from the resampled differences: twice the share of resamples on the rarer side
/// of 0, counting one more resample on either side. 1 without resamples.
double bootstrap_p(const std::vector<double>& differences);

/// p-value of "the difference is at least `margin` either way", by two one-sided tests on the resampled differences: the larger
/// share of resamples at or beyond a margin, counting one more. Below 0.05 the models are level. 1 without resamples.
double equivalence_p(const std::vector<double>& differences, double margin);

/// Holm's adjustment of several p-values, in their order.
std::vector<double> holm(const std::vector<double>& p);

}  // namespace dmoerm::eval
