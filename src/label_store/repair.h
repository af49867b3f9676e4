// Saves what is readable of a damaged label store: `dmoerm labels repair`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dmoerm::label_store {

struct RepairedFile {
  std::filesystem::path moved_to;  ///< where the damaged file is now
  std::string damage;              ///< what was wrong
  std::filesystem::path segment;   ///< what was saved; "" if nothing was
  std::int64_t saved = 0;          ///< labels
  std::int64_t lost = -1;          ///< labels; -1: the file does not say any more how many it held
};

/// Move damaged segments and a damaged journal into damaged/ and put every row whose checksum is right into a new segment. What
/// lost rows have cost stays counted where the file still says it. Cut short, it can be run again.
/// @throws ConfigError if a labeller holds the store, IoError
std::vector<RepairedFile> repair_store(const std::filesystem::path& directory);

}  // namespace dmoerm::label_store
