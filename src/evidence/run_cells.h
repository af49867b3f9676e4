// Cells of the experiment whose models are those of whole runs, instead of heads on frozen states.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "evidence/draw.h"

namespace dmoerm::evidence {

/// Blocks of the prompts that all draws test: {category: {id: block}}.
nlohmann::json tested_blocks(const std::vector<DrawnCategory>& categories, const data::TokenStore& store);

/// What a run says about a category.
struct RunOfCategory {
  std::filesystem::path scores;  ///< scores.json of its evaluation
  std::string aggregator;        ///< Kind that was chosen
};
/// Write the cells of some runs, which count as seeds: own is the run's model per category, stack its DMoERM as chosen and
/// routed.
/// @param draws  {"regime", "blocks": as tested_blocks() gives them, ...}
/// @param runs  category -> one for each run
/// @throws DataError if runs tested other prompts than the draws name, or have not the same models; IoError
void write_run_cells(const nlohmann::json& draws, const std::map<std::string, std::vector<RunOfCategory>>& runs,
                     const std::filesystem::path& folder);

}  // namespace dmoerm::evidence
