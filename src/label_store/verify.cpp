#include "label_store/verify.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "label_store/journal.h"
#include "label_store/missing_labels.h"
#include "label_store/store_lock.h"

namespace dmoerm::label_store {
namespace {

constexpr std::int64_t kPiece = 1 << 16;

/// Read all of a segment. @throws DataError naming the damage
void check_segment(const Segment& segment) {
  const SegmentAbout& about = segment.about();
  const std::string name = segment.path().string();
  std::int64_t last = 0;
  for (const SegmentRun& run : about.runs) {
    judge::Usage spent;
    const PointKey key = about.point_key(run);
    for (std::int64_t at = 0; at < run.rows; at += kPiece) {
      LabelColumns rows;
      segment.read(run.first + at, std::min(kPiece, run.rows - at), ColumnSet::all, rows);
      const std::vector<std::size_t> starts = rows.reply_starts();
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const Label label = rows.label(i, starts[i]);
        const std::int64_t row = run.first + at + static_cast<std::int64_t>(i);
        if (row_check(label, rows.sequence[i]) != rows.check[i]) {
          throw DataError("label-segment-checksum",
                          fmt::format("{}: row {} (key {}) does not match its checksum", name, row, to_hex(label.key)));
        }
        if (rows.point_key(i) != key) {
          throw DataError("label-segment-attributes",
                          fmt::format("{}: row {} belongs to {}/{}, but the attributes say {}/{}", name, row, label.category,
                                      label.point, key.category, key.point));
        }
        spent += rows.spent(i);
        last = std::max(last, rows.sequence[i]);
      }
    }
    if (spent != run.spent)
      throw DataError("label-segment-attributes",
                      fmt::format("{}: the costs of the rows from {} on are not those in the attributes", name, run.first));
  }
  if (last != about.last_sequence) {
    throw DataError("label-segment-attributes",
                    fmt::format("{}: expected the highest label number {}, found {}", name, about.last_sequence, last));
  }
}

bool is_held(const std::filesystem::path& directory) {
  const auto note = StoreLock::read(directory);
  return note && note->held;
}

}  // namespace

Verification verify_store(const std::filesystem::path& directory) {
  require_store(directory);
  Verification result;
  StoreSegments found = open_segments(directory);
  result.damaged = std::move(found.damaged);
  const bool all_readable = result.damaged.empty();
  JournalTold told;
  for (const Segment& segment : found.segments) {
    try {
      check_segment(segment);
      ++result.segments;
      result.rows += segment.about().rows;
    } catch (const DataError& e) {
      result.damaged.push_back({segment.path(), e.what()});
    }
  }
  for (const auto& list : {found.replaced, found.salvaged}) {
    for (const auto& file : list) {
      result.remarks.push_back(fmt::format("{}: another segment has its labels; the next labelling removes it", file.string()));
    }
  }
  bool in_use = is_held(directory);
  if (!in_use) {
    const Journal::Salvaged journal = Journal::salvage(journal_path(directory));
    in_use = is_held(directory);  // a labeller that has started meanwhile changes the files
    if (!in_use) {
      if (journal.damage.empty()) told = told_by_journal(directory, journal.cleared, journal.last);
      result.journal_rows = static_cast<std::int64_t>(journal.rows.size());
      if (!journal.damage.empty()) result.damaged.push_back({journal_path(directory), journal.damage});
    }
  }
  if (const MissingLabels missing = find_missing_labels(directory, found, told); all_readable && missing.labels > 0)
    result.damaged.push_back({directory, missing.what});
  if (in_use) {
    result.remarks.push_back(fmt::format("{}: not checked, because it is in use by {}", journal_path(directory).string(),
                                         StoreLock::read(directory).value_or(LockNote{}).holder));
  }
  return result;
}

}  // namespace dmoerm::label_store
