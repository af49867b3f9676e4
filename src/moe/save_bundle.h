// Writing a bundle: every part beside the final name, dmoerm.json with checksums last, then one rename.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "moe/bundle.h"

namespace dmoerm::moe {

/// A prompt and responses whose scores are stored, and checked at every load.
using GoldenText = std::pair<std::vector<preference::Message>, std::vector<std::string>>;

/// Write the bundle to `directory`; an older bundle there is replaced only when the new one is complete. Loads it again and
/// compares golden scores before it returns.
/// @param source_model  the Hugging Face directory of the backbone: its config.json and tokenizer files are copied
/// @throws IoError, DataError
void save_bundle(const Bundle& bundle, const std::filesystem::path& directory, const std::filesystem::path& source_model,
                 const std::vector<GoldenText>& golden);

}  // namespace dmoerm::moe
