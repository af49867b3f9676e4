// Checks every checksum of a label store: `dmoerm label-store verify`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "label_store/store_directory.h"

namespace dmoerm::label_store {

struct Verification {
  std::int64_t segments = 0, rows = 0;  ///< Undamaged segments and their rows
  std::int64_t journal_rows = 0;
  std::vector<DamagedFile> damaged;
  std::vector<std::string> remarks;  ///< Other findings, such as a journal that is in use and was not checked
  [[nodiscard]] bool whole() const { return damaged.empty(); }
};

/// Check the segments: each seal, each chunk, the checksum of each row, and that rows and attributes agree. Check the journal:
/// with SQLite's integrity_check, its write-ahead log, and the checksum of each row. Check that no segment is missing. It changes
/// nothing and takes no lock.
/// @throws ConfigError if it is not a label store, IoError
Verification verify_store(const std::filesystem::path& directory);

}  // namespace dmoerm::label_store
