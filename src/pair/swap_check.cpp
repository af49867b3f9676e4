#include "pair/swap_check.h"

namespace dmoerm::pair {

SwapOutcome check_swap(std::string_view first_order, std::string_view second_order) {
  const auto either = [&](std::string_view word) { return first_order == word || second_order == word; };
  const auto verdict = [](std::string_view word) { return word == "first" || word == "second" || word == "tie"; };
  if (either("error")) return SwapOutcome::error;
  if (either("refused")) return SwapOutcome::refused;
  if (!verdict(first_order) || !verdict(second_order)) return SwapOutcome::unparsable;
  if (first_order == "tie" && second_order == "tie") return SwapOutcome::tie;
  if (first_order == "first" && second_order == "second") return SwapOutcome::first;
  if (first_order == "second" && second_order == "first") return SwapOutcome::second;
  return SwapOutcome::inconsistent;
}

std::string_view to_string(SwapOutcome outcome) {
  constexpr std::string_view kNames[] = {"first", "second", "tie", "inconsistent", "unparsable", "refused", "error"};
  return kNames[static_cast<std::size_t>(outcome)];
}

}  // namespace dmoerm::pair
