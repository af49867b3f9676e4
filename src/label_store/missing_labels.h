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

/// What a journal says of labels that are no longer in it.
struct JournalTold {
  std::int64_t cleared = 0;  ///< Highest number that it has handed over to a segment; 0 if not known
  std::int64_t lost = 0;     ///< Labels that the lock file counts in a journal that is gone
};
/// @param cleared, last  as Journal's; a journal without a last label is new, so that labels counted before were in another one
JournalTold told_by_journal(const std::filesystem::path& directory, std::int64_t cleared, std::int64_t last);

/// Labels are numbered without gaps, and segments count what a compaction or a repair took away. So the store is incomplete if
/// its segments count fewer labels than the highest number that was in one: by a segment, the journal or store.json. A segment
/// copied from another store can hide that. A store that an earlier version repaired is taken as it is: it does not say how much
/// was lost.
/// @throws DataError or IoError if store.json cannot be read
MissingLabels find_missing_labels(const std::filesystem::path& directory, const StoreSegments& found, const JournalTold& journal);

/// Note in store.json that the missing labels are given up, so that they are asked for again. @throws IoError
void give_up_missing_labels(const std::filesystem::path& directory, const StoreSegments& found, const JournalTold& journal);

/// The highest number of a label in a segment by store.json; 0 if it does not say, as in stores of earlier versions.
/// @throws DataError or IoError if store.json cannot be read
std::int64_t noted_labels(const std::filesystem::path& directory);
/// Note in store.json that labels up to this number are in segments. @throws IoError
void note_labels(const std::filesystem::path& directory, std::int64_t last);

}  // namespace dmoerm::label_store
