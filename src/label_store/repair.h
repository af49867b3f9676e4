// Saves the readable labels of a damaged label store: `dmoerm label-store repair`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dmoerm::label_store {

struct RepairedFile {
  std::filesystem::path moved_to;  ///< Where the damaged file is now; "" if it is missing
  std::string damage;              ///< What was wrong
  std::filesystem::path segment;   ///< Segment with the saved labels; "" if none were saved
  std::int64_t saved = 0;          ///< Labels saved
  std::int64_t lost = -1;          ///< Labels lost; -1 if the file no longer says how many it held
};

/// Move damaged segments and a damaged journal into damaged/ and put every row whose checksum is correct into a new segment. The
/// costs of lost rows still count where the file still states them. Labels of files that are missing are given up. After an
/// interruption it can be run again.
/// @throws ConfigError if a labeller holds the store, IoError
std::vector<RepairedFile> repair_store(const std::filesystem::path& directory);

}  // namespace dmoerm::label_store
