// From the replies about one pair and point to one outcome: each judge and sample is a ballot of two replies, one for each order.
#pragma once
#include <optional>
#include <vector>

#include "label_store/label.h"
#include "preference/swap_check.h"

namespace dmoerm::label {

/// What one judge said in one sample. Verdicts are about what was shown: the first order shows a first.
struct Ballot {
  preference::Verdict first_order = preference::Verdict::error, second_order = preference::Verdict::error;
  float first_probability = -1, second_probability = -1;  ///< Label::first_probability of the two
  double weight = 1;
};

/// The swap rule for one ballot.
preference::SwapOutcome outcome_of(const Ballot& ballot);

struct Vote {
  preference::SwapOutcome outcome = preference::SwapOutcome::error;
  /// Of the ballots with a verdict (a tie is one) in both orders, the weight of the replies for a, a tie counting half; with
  /// token probabilities their mean. 0.5 if there is no such ballot: one order alone cannot be told from position bias.
  float share = 0.5F;
};

/// One ballot decides by itself. Of several, those that the swap rule believes are counted, and the outcome with more weight than
/// each other wins: a plurality of the believed ballots, which need not be a half of them (3 first, 2 second, 2 tie are first).
/// Judges that contradict each other with equal weight (but for rounding) are inconsistent. If none is believed, what most of
/// them are (of equally many the first of inconsistent, unparsable, refused, error).
Vote count_votes(const std::vector<Ballot>& ballots);

/// What training makes of a vote: the probability that a is the better one, above or below a half; nothing if the vote decides
/// nothing.
/// @param soft  the share of the votes, where there were verdicts in both orders (inconsistent ones too); else 1 or 0, of the
///              believed outcomes only
std::optional<float> training_target(const Vote& vote, bool soft);

}  // namespace dmoerm::label
