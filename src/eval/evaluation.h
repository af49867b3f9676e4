// All figures of an evaluation, as one JSON value from which table and plots are made.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "eval/scored.h"

namespace dmoerm::eval {

/// Accuracies with intervals, differences with tests, and everything of the pages below; docs/evaluating.md describes the keys.
/// "groups" has each item's results and scores, from which all of it can be computed again.
nlohmann::json evaluate(const Scored& scored);

}  // namespace dmoerm::eval
