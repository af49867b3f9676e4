// From the replies about one pair and point to one outcome: each judge and sample is a ballot of two replies, one for each order.
#pragma once
#include <optional>
#include <vector>

#include "label/label.h"
#include "pair/swap_check.h"

namespace dmoerm::label {

/// What one judge said in one sample. Verdicts are about what was shown: the first order shows a first.
struct Ballot {
  Verdict first_order = Verdict::error, second_order = Verdict::error;
  float first_probability = -1, second_probability = -1;  ///< Label::first_probability of the two
  double weight = 1;
};

/// The swap rule for one ballot.
pair::SwapOutcome outcome_of(const Ballot& ballot);

struct Vote {
  pair::SwapOutcome outcome = pair::SwapOutcome::error;
  /// Weight of the replies for a among those with a verdict, a tie counting half; with token probabilities their mean. 0.5 if
  /// none has one.
  float share = 0.5F;
};

/// One ballot decides by itself. Of several, those that the swap rule believes are counted: the outcome with more weight than
/// each other wins; judges that contradict each other with equal weight are inconsistent. If none is believed, what most of them
/// are (of equally many the first of inconsistent, unparsable, refused, error).
Vote count_votes(const std::vector<Ballot>& ballots);

}  // namespace dmoerm::label
