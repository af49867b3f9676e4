// Curves of best-of-n: what models pick, what the picks are worth, and whether they are only long.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "eval/scored.h"

namespace dmoerm::eval {

/// Curves by model and n = 1, 2, 4, ... up to the size of the smallest list or `largest`, with 95 % bootstrap bands over prompts;
/// "gold" itself is the last model: the most that can be reached. "gain" is what the pick has more than the mean of its list, in
/// standard deviations within lists. "prompts" has each list's own values. docs/evaluating.md describes the keys.
/// @param largest  0 = no limit
/// @throws DataError if a model has no scores, but preferences only
nlohmann::json bon_figures(const Scored& scored, const std::string& gold, std::int64_t largest = 0);

/// Markdown tables of bon_figures().
std::string bon_text(const nlohmann::json& result);

/// SVG: gold gains with bands, proxy gains dashed, over the divergence from one random response.
std::string bon_plot(const nlohmann::json& result);

}  // namespace dmoerm::eval
