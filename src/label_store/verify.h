// Checks every checksum of a label store: `dmoerm labels verify`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "label_store/store_directory.h"

namespace dmoerm::label_store {

struct Verification {
  std::int64_t segments = 0, rows = 0;  ///< that are whole
  std::int64_t journal_rows = 0;
  std::vector<DamagedFile> damaged;
  std::vector<std::string>
      remarks;  ///< what is no damage but worth knowing, such as a journal that is in use and was not checked
  [[nodiscard]] bool whole() const { return damaged.empty(); }
};

/// Check the seal of every segment, every chunk, the checksum of every row, and that rows and attributes agree; of the journal
/// SQLite's own integrity_check, its write-ahead log and the checksum of every row. Changes nothing and takes no lock.
/// @throws ConfigError if it is no label store, IoError
Verification verify_store(const std::filesystem::path& directory);

}  // namespace dmoerm::label_store
