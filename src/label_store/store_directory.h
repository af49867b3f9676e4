// The directory of a label store: what makes it one, and which of its segments count.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "label_store/segment.h"

namespace dmoerm::label_store {

/// Where things are in a store.
std::filesystem::path journal_path(const std::filesystem::path& directory);
std::filesystem::path damaged_path(const std::filesystem::path& directory);
/// Name for the segment after all that there ever were.
std::filesystem::path next_segment_path(const std::filesystem::path& directory);

/// Make an empty or missing directory a store; a store stays as it is. The caller holds its lock, or is about to take it.
/// @throws ConfigError if it holds other files or is of a newer version, IoError if it cannot be written
void create_store(const std::filesystem::path& directory);
/// @throws ConfigError if it is no label store, or one of a newer version
void require_store(const std::filesystem::path& directory);

struct DamagedFile {
  std::filesystem::path path;
  std::string what;
};

/// The segments of a store at one moment.
struct StoreSegments {
  std::vector<Segment> segments;                ///< those that count, in the order of their numbers
  std::vector<std::filesystem::path> replaced;  ///< left by a compaction that was cut short; their rows are in another
  std::vector<std::filesystem::path> salvaged;  ///< damaged ones whose rows are in another
  std::vector<DamagedFile> damaged;             ///< damaged ones whose rows are nowhere else
};
/// Open all segments and check their seals. @throws IoError
StoreSegments open_segments(const std::filesystem::path& directory);
/// open_segments() of a store that must be whole. @throws DataError naming the damaged segments
StoreSegments open_whole_segments(const std::filesystem::path& directory);
/// For the writer: remove files of interrupted writes and replaced segments, put salvaged ones aside. @throws IoError
void tidy(const std::filesystem::path& directory, const StoreSegments& found);
/// Move a file into damaged/. @return its new path @throws IoError
std::filesystem::path put_aside(const std::filesystem::path& directory, const std::filesystem::path& file);

}  // namespace dmoerm::label_store
