// The figures that a benchmark's authors report, with intervals.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "eval/scored.h"

namespace dmoerm::eval {

/// What the names of the figures over all sections, subsets or domains begin with.
inline constexpr const char* kScore = "Score";

/// [{"name", "groups", "models": {model: interval or null}, "differences": those of model_differences.h}, ...] in the order in
/// which they are read. Empty for a benchmark whose only figure is the accuracy. "groups" counts each item once.
nlohmann::json benchmark_figures(const Scored& scored);

/// Sentences about subsets that the published benchmark has and the data lack, and the other way round. Empty for a benchmark
/// without a score over subsets.
std::vector<std::string> benchmark_notes(const Data& data);

}  // namespace dmoerm::eval
