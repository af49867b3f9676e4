// Reads a bundle and checks it.
#pragma once
#include <cstdint>
#include <filesystem>

#include "moe/bundle.h"
#include "nn/base_weights.h"

namespace dmoerm::moe {

/// How the backbones of a compressed bundle are held: as masks, whose layers are made whole where a pass needs them
/// (nn/elected_changes.h), or all of them whole, for those who read the weights. The scores have the same bits.
enum class Backbones : std::uint8_t { as_stored, whole };

/// Load a bundle and check its golden scores and the experts' rewards behind them. Tolerance, absolute and relative: 1e-4, and in
/// final scores what rounding by 1e-5 in the experts' rewards can make of them; for a bundle in bfloat16 0.5, with a warning
/// above 3e-2.
/// @param weights  int8: after these checks the layers' matrices are laid out in eight bits, and a warning says how far the
/// golden scores are then from the stored ones (Bundle::int8_drift)
/// @throws ConfigError for int8 weights of a bundle that is not float32 on the CPU; DataError for an unknown schema version
/// (names both), missing or damaged files, or golden scores that differ (by how much)
Bundle load_bundle(const std::filesystem::path& directory, at::Device device, nn::BaseWeights weights = nn::BaseWeights::float32,
                   Backbones backbones = Backbones::as_stored);

}  // namespace dmoerm::moe
