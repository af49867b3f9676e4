// The numbers in which a frozen backbone's matrices are kept for its forward passes.
#pragma once
#include <cstdint>

namespace dmoerm::nn {

enum class BaseWeights : std::uint8_t { float32, int8 };

/// "float32" or "int8".
constexpr const char* name_of(BaseWeights weights) { return weights == BaseWeights::int8 ? "int8" : "float32"; }

}  // namespace dmoerm::nn
