// Reading a bundle, with every check before it is trusted.
#pragma once
#include <filesystem>

#include "moe/bundle.h"

namespace dmoerm::moe {

/// Load and check golden scores (tolerance, absolute and relative: 1e-4; of a bundle in bfloat16 0.5, with a warning above
/// 3e-2; says by how much they differ).
/// @throws DataError for an unknown schema version (names both), missing or damaged files, golden scores that differ
Bundle load_bundle(const std::filesystem::path& directory, at::Device device);

}  // namespace dmoerm::moe
