// The directory of a label store: its files, and which of its segments count.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "label_store/segment.h"

namespace dmoerm::label_store {

/// Paths in a store.
std::filesystem::path mark_path(const std::filesystem::path& directory);
std::filesystem::path segment_path(const std::filesystem::path& directory, std::int64_t number);
std::filesystem::path journal_path(const std::filesystem::path& directory);
std::filesystem::path damaged_path(const std::filesystem::path& directory);
/// Path for a new segment, numbered after all existing and damaged ones.
std::filesystem::path next_segment_path(const std::filesystem::path& directory);

/// Turn an empty or missing directory into a store; an existing store is not changed. The caller holds its lock or takes it next.
/// @throws ConfigError if it holds other files or is of a newer version, IoError if it cannot be written
void create_store(const std::filesystem::path& directory);
/// Accepts a store whose creation was interrupted: it holds no labels yet. @throws ConfigError if it is not a label store, or one
/// of a newer version
void require_store(const std::filesystem::path& directory);

struct DamagedFile {
  std::filesystem::path path;
  std::string what;
};

/// The segments of a store at one moment.
struct StoreSegments {
  std::vector<Segment> segments;                ///< Segments that count, in the order of their numbers
  std::vector<std::filesystem::path> replaced;  ///< Copies, or left by an interrupted compaction; another segment has their rows
  std::vector<std::filesystem::path> salvaged;  ///< Damaged; another segment has their rows
  std::vector<DamagedFile> damaged;             ///< Damaged, and no other segment has their rows
};
/// Open all segments and check their seals. @throws IoError
StoreSegments open_segments(const std::filesystem::path& directory);
/// open_segments() of a store that must not be damaged. @throws DataError naming the damaged segments
StoreSegments open_whole_segments(const std::filesystem::path& directory);
/// Remove the files of interrupted writes and replaced segments, and put salvaged ones aside. For the writer. @throws IoError
void tidy(const std::filesystem::path& directory, const StoreSegments& found);
/// Move a file into damaged/. @return its new path @throws IoError
std::filesystem::path put_aside(const std::filesystem::path& directory, const std::filesystem::path& file);

}  // namespace dmoerm::label_store
