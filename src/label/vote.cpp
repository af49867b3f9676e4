#include "label/vote.h"

#include <algorithm>
#include <array>

namespace dmoerm::label {
namespace {

using pair::SwapOutcome;

/// For a, from 0 to 1; nothing without a verdict.
std::optional<double> for_a(Verdict verdict, float probability, bool swapped) {
  double first = 0.5;
  if (verdict == Verdict::first || verdict == Verdict::second || verdict == Verdict::tie) {
    first = verdict == Verdict::first ? 1 : verdict == Verdict::second ? 0 : 0.5;
    if (probability >= 0) first = probability;
  } else {
    return std::nullopt;
  }
  return swapped ? 1 - first : first;
}

}  // namespace

SwapOutcome outcome_of(const Ballot& ballot) {
  return pair::check_swap(to_string(ballot.first_order), to_string(ballot.second_order));
}

Vote count_votes(const std::vector<Ballot>& ballots) {
  std::array<double, 7> weight{};
  double sum = 0, shares = 0;
  for (const Ballot& ballot : ballots) {
    weight[static_cast<std::size_t>(outcome_of(ballot))] += ballot.weight;
    for (const bool swapped : {false, true}) {
      const auto share = swapped ? for_a(ballot.second_order, ballot.second_probability, true)
                                 : for_a(ballot.first_order, ballot.first_probability, false);
      if (!share) continue;
      sum += ballot.weight;
      shares += ballot.weight * *share;
    }
  }
  Vote vote;
  if (sum > 0) vote.share = static_cast<float>(shares / sum);
  const auto believed = weight.begin() + 3;  // first, second, tie
  const auto best = std::max_element(weight.begin(), believed);
  if (*best > 0) {
    vote.outcome = std::count(weight.begin(), believed, *best) == 1 ? static_cast<SwapOutcome>(best - weight.begin())
                                                                    : SwapOutcome::inconsistent;
  } else if (!ballots.empty()) {
    vote.outcome = static_cast<SwapOutcome>(std::max_element(believed, weight.end()) - weight.begin());
  }
  return vote;
}

}  // namespace dmoerm::label
