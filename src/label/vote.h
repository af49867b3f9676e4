// Combines the replies about one pair and point into one outcome. A ballot is one judge's two replies in one sample, one for each
// order.
#pragma once
#include <optional>
#include <vector>

#include "label_store/label.h"
#include "preference/swap_check.h"

namespace dmoerm::label {

/// One judge's verdicts in one sample, in terms of what was shown: the first order shows a first.
struct Ballot {
  preference::Verdict first_order = preference::Verdict::error, second_order = preference::Verdict::error;
  float first_probability = -1, second_probability = -1;  ///< Label::first_probability of both
  double weight = 1;
};

/// Outcome of one ballot by the swap rule.
preference::SwapOutcome outcome_of(const Ballot& ballot);

struct Vote {
  preference::SwapOutcome outcome = preference::SwapOutcome::error;
  /// Weighted share of replies for a, over the ballots with a verdict (or tie) in both orders; a tie counts half, and a reply
  /// with a token probability counts with it. 0.5 without such a ballot: a verdict in one order may be position bias.
  float share = 0.5F;
};

/// The outcome with the most weight among the ballots that the swap rule believes: a plurality, not necessarily a majority (3
/// first, 2 second, 2 tie give first). If two lead with equal weight (apart from rounding), the outcome is inconsistent. Without
/// a believed ballot it is the most frequent failure, and of equally frequent ones the first of inconsistent, unparsable,
/// refused, error.
Vote count_votes(const std::vector<Ballot>& ballots);

/// The training target of a vote: the probability that a is better, never 0.5; nothing if the vote is undecided.
/// @param soft  true: the share of the votes, for believed and inconsistent outcomes; false: 1 or 0, for believed ones only
std::optional<float> training_target(const Vote& vote, bool soft);

}  // namespace dmoerm::label
