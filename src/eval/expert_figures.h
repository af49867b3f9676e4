// What a bundle's parts do: where its router sends prompts, and how its experts order responses.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "eval/scored.h"

namespace dmoerm::eval {

/// Adds "routes", "agreement" and "experts" by model to an evaluation, for models that have a router or experts.
void add_expert_figures(nlohmann::json& result, const Scored& scored);

}  // namespace dmoerm::eval
