// Names and checksums of a bundle's files, which its writer and reader share.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace dmoerm::moe {

/// Version 2 may hold the base's reward and aggregators of any kind; version 1 knew mean, linear and mlp. In version 3 the
/// categories' backbones are masks over one vector of changes (nn/masked_weights.h). In version 4 the router may mix the rewards
/// of two categories; the backbones may be masks. A bundle has the lowest version that suffices.
inline constexpr std::int64_t kBundleSchema = 2, kBundleSchemaBefore = 1, kBundleSchemaMasked = 3, kBundleSchemaMixed = 4;
inline constexpr const char* kBundleManifest = "dmoerm.json";

/// SHA-256 of every file of a bundle but its manifest, by relative path.
nlohmann::json file_sums(const std::filesystem::path& directory);

}  // namespace dmoerm::moe
