// The key or word that was probably meant: "did you mean ...?"
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::config {

/// The candidate that `word` most likely misspells (fewest insertions, deletions, replacements and swaps of neighbours);
/// nothing if every candidate is more than a third of its length away.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace dmoerm::config
