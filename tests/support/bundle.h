// The bundle that the golden files hold.
#pragma once
#include <filesystem>
#include <memory>

#include "moe/load_bundle.h"

namespace dmoerm::test {

inline std::filesystem::path earlier_bundle_folder() {
  return std::filesystem::path(DMOERM_SOURCE) / "tests/golden/earlier/bundle";
}

/// A tiny bundle of version 0.1.0: one category, an encoder.
inline std::shared_ptr<const moe::Bundle> earlier_bundle() {
  return std::make_shared<const moe::Bundle>(moe::load_bundle(earlier_bundle_folder(), at::kCPU));
}

}  // namespace dmoerm::test
