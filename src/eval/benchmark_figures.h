// The figures that a benchmark's authors report, with intervals.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "eval/scored.h"

namespace dmoerm::eval {

/// [{"name", "groups", "models": {model: interval or null}}, ...] in the order in which they are read. Empty for a benchmark
/// whose only figure is the accuracy.
nlohmann::json benchmark_figures(const Scored& scored);

}  // namespace dmoerm::eval
