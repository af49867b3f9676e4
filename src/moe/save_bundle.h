// Writes a bundle under a temporary name, dmoerm.json with the checksums last, and then renames it.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "moe/bundle.h"

namespace dmoerm::moe {

/// A prompt and responses whose scores the bundle stores, and every load checks.
using GoldenText = std::pair<std::vector<preference::Message>, std::vector<std::string>>;

/// What a bundle gives to golden texts, routed and under every category, as its manifest stores it.
nlohmann::json golden_scores(const Bundle& bundle, const std::vector<GoldenText>& golden);

/// Write the bundle to `directory`. Loads it again and compares golden scores before it replaces an older bundle there.
/// @param source_model  the Hugging Face directory of the backbone: its config.json and tokenizer files are copied
/// @throws IoError, DataError
void save_bundle(const Bundle& bundle, const std::filesystem::path& directory, const std::filesystem::path& source_model,
                 const std::vector<GoldenText>& golden);

}  // namespace dmoerm::moe
