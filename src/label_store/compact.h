// Merges many small segments into few large ones: `dmoerm label-store compact`.
#pragma once
#include <cstdint>
#include <filesystem>

namespace dmoerm::label_store {

struct Compaction {
  std::int64_t segments_before = 0, segments_after = 0;
  std::int64_t rows_dropped = 0;  ///< Superseded labels; their costs still count
  std::int64_t bytes_before = 0, bytes_after = 0;
};

/// Rewrite segments that are small or hold superseded labels, into segments of at most `rows_max` rows. A new segment names those
/// that it replaces and is published before they are removed, so at every moment each label counts once.
/// @throws ConfigError if a labeller holds the store, DataError if a segment is damaged, IoError (when the disk is full, nothing
/// has changed)
Compaction compact_store(const std::filesystem::path& directory, std::int64_t rows_max);

}  // namespace dmoerm::label_store
