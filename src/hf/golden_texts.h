// The texts whose scores every load of a bundle checks, as its manifest has them.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "moe/save_bundle.h"

namespace dmoerm::hf {

/// Those that the router sends to a category, with their prompts. @param manifest  content of dmoerm.json
std::vector<moe::GoldenText> golden_texts(const nlohmann::json& manifest);

}  // namespace dmoerm::hf
