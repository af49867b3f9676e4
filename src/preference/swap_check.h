// The swap rule: a judge sees a pair in both orders, and its verdict counts only if it prefers the same response both times.
#pragma once
#include <cstdint>
#include <string_view>

#include "preference/verdict.h"

namespace dmoerm::preference {

/// The result of a judge's two answers about one pair and point.
enum class SwapOutcome : std::uint8_t {
  first = 0,
  second = 1,
  tie = 2,
  inconsistent = 3,
  unparsable = 4,
  refused = 5,
  error = 6
};

/// @param first_order   the verdict when response a was shown first
/// @param second_order  the verdict when response b was shown first
/// @return `first` if both verdicts mean a, `second` if both mean b, `tie` if both are ties, and `inconsistent` otherwise
/// (position bias). If an answer failed, the result is that failure: error before refused before unparsable.
/// @see arXiv:2403.01197, capability point labelling
SwapOutcome check_swap(Verdict first_order, Verdict second_order);

std::string_view to_string(SwapOutcome outcome);

}  // namespace dmoerm::preference
