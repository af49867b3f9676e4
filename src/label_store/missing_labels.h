// Notices that segments of a label store are gone, as after half a copy: their questions would be asked and paid for again.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "label_store/store_directory.h"

namespace dmoerm::label_store {

/// Labels that were stored, but of which no segment says anything.
struct MissingLabels {
  std::int64_t labels = 0;  ///< Those that no repair has given up
  std::string what;         ///< How many, and the files that are not there; "" if there are none
};

/// Labels are numbered without gaps, and segments count what a compaction or a repair took away. So the store is incomplete if
/// its segments count fewer labels than the highest number that was in one. A segment copied from another store can hide that.
/// A store that an earlier version repaired is taken as it is: it does not say how much was lost.
/// @param cleared  highest number that the journal has handed over to a segment; 0 if not known
/// @throws DataError or IoError if store.json cannot be read
MissingLabels find_missing_labels(const std::filesystem::path& directory, const StoreSegments& found, std::int64_t cleared);

/// Note in store.json that the missing labels are given up, so that they are asked for again. @throws IoError
void give_up_missing_labels(const std::filesystem::path& directory, const StoreSegments& found, std::int64_t cleared);

}  // namespace dmoerm::label_store
