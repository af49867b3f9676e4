#include "moe/bundle_files.h"

#include <nlohmann/json.hpp>

#include "base/hash.h"

namespace dmoerm::moe {

namespace fs = std::filesystem;

nlohmann::json file_sums(const fs::path& directory) {
  nlohmann::json sums = nlohmann::json::object();
  const auto options = fs::directory_options::follow_directory_symlink;  // a folder may have been moved away and linked
  for (const auto& entry : fs::recursive_directory_iterator(directory, options)) {
    if (entry.is_regular_file() && entry.path().filename() != kBundleManifest)
      sums[entry.path().lexically_relative(directory).string()] = sha256_file(entry.path());
  }
  return sums;
}

}  // namespace dmoerm::moe
