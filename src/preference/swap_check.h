// The swap rule: a judge is asked about a pair in both orders, and believed only if it means the same response both times.
#pragma once
#include <cstdint>
#include <string_view>

#include "preference/verdict.h"

namespace dmoerm::preference {

/// What the two answers about one pair and point came to. Seven different things, all kept.
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
/// @return `first` if both mean a, `second` if both mean b, `tie` if both say so; a failed answer makes the pair that failure
/// (error
///         before refused before unparsable); else inconsistent (position bias)
/// @see arXiv:2403.01197, capability point labelling
SwapOutcome check_swap(Verdict first_order, Verdict second_order);

std::string_view to_string(SwapOutcome outcome);

}  // namespace dmoerm::preference
