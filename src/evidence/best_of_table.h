// What the best of n responses is worth by the reward of each arm, on lists whose gold scores are known.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evidence/cell_results.h"

namespace dmoerm::evidence {

/// All empty where no category has enough lists.
struct BestOfSection {
  std::string markdown;
  nlohmann::json figures;  ///< {"4": {"categories", "kl", "arms": {arm: {"gold": [value, low, high], "own", "longest"}}, "less":
                           ///< {arm: [...]}}}
  std::string svg;         ///< Gold gain against n, a panel for each category
};
/// @param names  of the categories
BestOfSection best_of_section(const std::vector<const CategoryResult*>& categories, const std::vector<std::string>& names);

}  // namespace dmoerm::evidence
