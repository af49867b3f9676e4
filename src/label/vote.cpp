#include "label/vote.h"

#include <algorithm>
#include <array>

namespace dmoerm::label {
namespace {

using preference::SwapOutcome;

/// Support of one reply for a, from 0 to 1; nothing without a verdict.
std::optional<double> for_a(preference::Verdict verdict, float probability, bool swapped) {
  double first = 0.5;
  if (verdict == preference::Verdict::first || verdict == preference::Verdict::second || verdict == preference::Verdict::tie) {
    first = verdict == preference::Verdict::first ? 1 : verdict == preference::Verdict::second ? 0 : 0.5;
    if (probability >= 0) first = probability;
  } else {
    return std::nullopt;
  }
  return swapped ? 1 - first : first;
}

/// Compares sums of weights with a tolerance for rounding: 0.1 + 0.2 equals 0.3.
bool reaches(double weight, double largest) { return weight >= largest * (1 - 1e-9); }

template <class Place>
Place first_of_the_largest(Place begin, Place end) {
  const double largest = *std::max_element(begin, end);
  return std::find_if(begin, end, [&](double w) { return reaches(w, largest); });
}

}  // namespace

SwapOutcome outcome_of(const Ballot& ballot) { return preference::check_swap(ballot.first_order, ballot.second_order); }

Vote count_votes(const std::vector<Ballot>& ballots) {
  std::array<double, 7> weight{};
  double sum = 0, shares = 0;
  for (const Ballot& ballot : ballots) {
    weight[static_cast<std::size_t>(outcome_of(ballot))] += ballot.weight;
    const auto first = for_a(ballot.first_order, ballot.first_probability, false);
    const auto second = for_a(ballot.second_order, ballot.second_probability, true);
    if (!first || !second) continue;
    sum += ballot.weight;
    shares += ballot.weight * (*first + *second) / 2;
  }
  Vote vote;
  if (sum > 0) vote.share = static_cast<float>(shares / sum);
  const auto believed = weight.begin() + 3;  // first, second, tie
  const auto best = first_of_the_largest(weight.begin(), believed);
  if (*best > 0) {
    vote.outcome = std::count_if(weight.begin(), believed, [&](double w) { return reaches(w, *best); }) == 1
                       ? static_cast<SwapOutcome>(best - weight.begin())
                       : SwapOutcome::inconsistent;
  } else if (!ballots.empty()) {
    vote.outcome = static_cast<SwapOutcome>(first_of_the_largest(believed, weight.end()) - weight.begin());
  }
  return vote;
}

std::optional<float> training_target(const Vote& vote, bool soft) {
  if (vote.outcome > SwapOutcome::inconsistent) return std::nullopt;
  if (soft) return vote.share == 0.5F ? std::nullopt : std::optional(vote.share);
  if (vote.outcome == SwapOutcome::first) return 1.0F;
  if (vote.outcome == SwapOutcome::second) return 0.0F;
  return std::nullopt;
}

}  // namespace dmoerm::label
