#include "moe/bundle_files.h"

#include <nlohmann/json.hpp>

#include "base/hash.h"

namespace dmoerm::moe {

namespace fs = std::filesystem;

nlohmann::json file_sums(const fs::path& directory) {
  nlohmann::json sums = nlohmann::json::object();
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file() && entry.path().filename() != kBundleManifest)
      sums[entry.path().lexically_relative(directory).string()] = sha256_file(entry.path());
  }
  return sums;
}

}  // namespace dmoerm::moe
