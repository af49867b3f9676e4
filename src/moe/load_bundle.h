// Reads a bundle and checks it.
#pragma once
#include <filesystem>

#include "moe/bundle.h"

namespace dmoerm::moe {

/// Load a bundle and check its golden scores. Tolerance, absolute and relative: 1e-4; for a bundle in bfloat16 0.5, with a
/// warning above 3e-2.
/// @throws DataError for an unknown schema version (names both), missing or damaged files, or golden scores that differ (by how
/// much)
Bundle load_bundle(const std::filesystem::path& directory, at::Device device);

}  // namespace dmoerm::moe
