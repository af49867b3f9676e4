// The HDF5 side of the token store. The only file that includes hdf5.h is the .cpp of this header.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "data/token_store_schema.h"

namespace dmoerm::data {

/// Writes a store: tokens as they come, everything else at the end. Chunked, shuffled, deflated, with a checksum on every chunk.
class StoreFile {
 public:
  /// Create `path`. @throws IoError
  explicit StoreFile(const std::filesystem::path& path);
  ~StoreFile();
  StoreFile(const StoreFile&) = delete;
  StoreFile& operator=(const StoreFile&) = delete;

  /// Append tokens; buffered, written in chunks.
  void append_tokens(std::span<const std::int32_t> tokens);
  /// Write the other columns and the attributes, and close. @throws IoError (disk full)
  void finish(const StoreColumns& columns, const StoreAttributes& attributes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Read a whole store; schema, checksums and content digest are verified. @param digest  receives the content digest
/// @throws IoError, DataError naming what is wrong
void read_store(const std::filesystem::path& path, StoreColumns& columns, StoreAttributes& attributes, std::string& digest);

}  // namespace dmoerm::data
