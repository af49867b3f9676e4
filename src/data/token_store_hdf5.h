// Writing and reading the HDF5 file of a token store.
#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/file_seal.h"
#include "data/token_store_schema.h"

namespace dmoerm::data {

inline constexpr SealKind kTokenStoreSeal{"token store", "ingest again"};

/// Writes a store piece by piece. Every column is chunked, shuffled and deflated, with a checksum per chunk. The datasets
/// "attributes" (JSON: schema, digest, names) and "provenance" (JSON) come last, then the seal over the whole file.
class StoreFile {
 public:
  /// Create `path`. @param threads  threads that pack chunks, beside the caller's; the file does not depend on them. @throws
  /// IoError
  StoreFile(const std::filesystem::path& path, int threads);
  ~StoreFile();
  StoreFile(const StoreFile&) = delete;
  StoreFile& operator=(const StoreFile&) = delete;

  /// Move whole chunks from the front of each column to the file. The rest stays in the columns. @throws IoError (disk full)
  void write_chunks(StoreColumns& columns);
  /// Write the rest of the columns and the attributes, and close the file. @throws IoError (disk full)
  void finish(StoreColumns& columns, const StoreAttributes& attributes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Read a whole store and verify its schema, checksums and content digest. @param digest  receives the content digest
/// @throws IoError, DataError naming what is wrong
void read_store(const std::filesystem::path& path, StoreColumns& columns, StoreAttributes& attributes, std::string& digest);

/// Called with the name of a column, the number of all its values, and the bytes of the next ones.
using TakePiece = std::function<void(const char* column, std::size_t values, std::span<const std::byte> piece)>;
/// read_store() without keeping what was read: columns one after the other, each in pieces. Columns without values are skipped.
std::string stream_store(const std::filesystem::path& path, StoreAttributes& attributes, const TakePiece& take);

/// Check that a store can be read, with everything that read_store() verifies. @param threads  threads beside the caller's
/// @return the content digest
std::string verify_store(const std::filesystem::path& path, int threads);

}  // namespace dmoerm::data
