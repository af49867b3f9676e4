#include "preference/swap_check.h"

namespace dmoerm::preference {

SwapOutcome check_swap(Verdict first_order, Verdict second_order) {
  const auto either = [&](Verdict verdict) { return first_order == verdict || second_order == verdict; };
  if (either(Verdict::error)) return SwapOutcome::error;
  if (either(Verdict::refused)) return SwapOutcome::refused;
  if (either(Verdict::unparsable)) return SwapOutcome::unparsable;
  if (first_order == Verdict::tie && second_order == Verdict::tie) return SwapOutcome::tie;
  if (first_order == Verdict::first && second_order == Verdict::second) return SwapOutcome::first;
  if (first_order == Verdict::second && second_order == Verdict::first) return SwapOutcome::second;
  return SwapOutcome::inconsistent;
}

std::string_view to_string(SwapOutcome outcome) {
  constexpr std::string_view kNames[] = {"first", "second", "tie", "inconsistent", "unparsable", "refused", "error"};
  return kNames[static_cast<std::size_t>(outcome)];
}

}  // namespace dmoerm::preference
