// Makes few large segments of many small ones: `dmoerm labels compact`.
#pragma once
#include <cstdint>
#include <filesystem>

namespace dmoerm::label_store {

struct Compaction {
  std::int64_t segments_before = 0, segments_after = 0;
  std::int64_t rows_dropped = 0;  ///< superseded labels; what they cost stays counted
  std::int64_t bytes_before = 0, bytes_after = 0;
};

/// Rewrite segments that are small or hold superseded labels, `rows_max` rows at most in one. A new segment says which ones it
/// replaces and is published before they are removed: at every moment each label counts once.
/// @throws ConfigError if a labeller holds the store, DataError if a segment is damaged, IoError (disk full: nothing has changed)
Compaction compact_store(const std::filesystem::path& directory, std::int64_t rows_max);

}  // namespace dmoerm::label_store
