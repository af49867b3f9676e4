// Figures about pairs of responses beside their accuracy: calibration, length and Markdown, the best of a list, ties.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "eval/scored.h"

namespace dmoerm::eval {

/// Adds "calibration", "style", "best_of_list" and "ties" by row and model to an evaluation. A row without what a figure needs
/// has a "note" that says so.
void add_pair_figures(nlohmann::json& result, const Scored& scored);

}  // namespace dmoerm::eval
