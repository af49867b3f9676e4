#include "label_store/repair.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/error.h"
#include "label_store/journal.h"
#include "label_store/missing_labels.h"
#include "label_store/store_directory.h"
#include "label_store/store_lock.h"
#include "label_store/verify.h"

namespace dmoerm::label_store {
namespace {

namespace fs = std::filesystem;
constexpr unsigned kSalvageSecondsMax = 300;  // HDF5 may loop for ever on a damaged file

/// Numbers of all labels in whole segments, in order.
std::vector<std::int64_t> sealed_numbers(const std::vector<Segment>& segments) {
  std::vector<std::int64_t> numbers;
  for (const Segment& segment : segments) {
    LabelColumns rows;
    segment.read(0, segment.about().rows, ColumnSet::index, rows);
    numbers.insert(numbers.end(), rows.sequence.begin(), rows.sequence.end());
  }
  std::ranges::sort(numbers);
  return numbers;
}

/// Rows that no whole segment holds.
LabelColumns without(const LabelColumns& rows, const std::vector<std::int64_t>& sealed) {
  LabelColumns result;
  const std::vector<std::size_t> starts = rows.reply_starts();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!std::ranges::binary_search(sealed, rows.sequence[i])) result.add_row(rows, i, starts[i]);
  }
  return result;
}

/// Costs of the rows that are missing in `saved`, as the damaged segment states them.
std::vector<PointSpent> costs_lost(const SegmentAbout& about, const LabelColumns& saved) {
  std::map<PointKey, judge::Usage> by_point;
  for (std::size_t i = 0; i < saved.size(); ++i) by_point[saved.point_key(i)] += saved.spent(i);
  std::vector<PointSpent> lost = about.notes.rows_dropped;
  for (const SegmentRun& run : about.runs) {
    PointSpent p{about.point_key(run), run.spent};
    p.spent -= by_point[p];
    if (p.spent.requests > 0) lost.push_back(std::move(p));
  }
  return lost;
}

/// Save the readable rows of `file` as `target`, in a separate process because HDF5 may crash on a damaged file.
bool salvage_segment(const fs::path& file, const fs::path& target, const std::vector<std::int64_t>& sealed) {
  const pid_t child = ::fork();
  if (child < 0) throw IoError("cannot-start-program", "cannot start a process that reads a damaged segment");
  if (child == 0) {
    ::alarm(kSalvageSecondsMax);
    try {
      SegmentAbout about;
      const LabelColumns saved = Segment::salvage(file, about);
      SegmentNotes notes;
      notes.salvaged = file.filename().string();
      notes.rows_lost = about.rows - static_cast<std::int64_t>(saved.size());
      notes.rows_dropped = costs_lost(about, saved);
      write_segment(target, without(saved, sealed), notes);
      ::_exit(0);
    } catch (const std::exception&) {
      ::_exit(1);
    }
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::vector<RepairedFile> repair_store(const fs::path& directory) {
  require_store(directory);
  const StoreLock lock(directory);
  tidy(directory, open_segments(directory));
  std::vector<RepairedFile> repaired;
  const StoreSegments found = open_segments(directory);
  const std::vector<std::int64_t> sealed = sealed_numbers(found.segments);
  for (const DamagedFile& file : found.damaged) {
    RepairedFile done{{}, file.what, next_segment_path(directory), 0, -1};
    if (salvage_segment(file.path, done.segment, sealed)) {
      const Segment saved(done.segment);
      done.saved = saved.about().rows;
      done.lost = saved.about().notes.rows_lost;
    } else {
      done.segment.clear();
    }
    done.moved_to = put_aside(directory, file.path);
    repaired.push_back(std::move(done));
  }
  const Journal::Salvaged journal = Journal::salvage(journal_path(directory));
  if (!journal.damage.empty()) {
    RepairedFile done{{}, journal.damage, {}, 0, -1};
    const LabelColumns rows = without(journal.rows, sealed);
    if (rows.size() > 0) {
      done.segment = next_segment_path(directory);
      write_segment(done.segment, rows, {});
    }
    done.saved = static_cast<std::int64_t>(rows.size());
    for (const fs::path& file : Journal::files(journal_path(directory))) done.moved_to = put_aside(directory, file);
    repaired.push_back(std::move(done));
  }
  const StoreSegments now = open_segments(directory);
  JournalTold told;
  if (journal.damage.empty()) told = told_by_journal(directory, journal.cleared, journal.last);
  const MissingLabels missing = find_missing_labels(directory, now, told);
  if (repaired.empty() && missing.labels > 0) repaired.push_back({{}, missing.what, {}, 0, missing.labels});
  give_up_missing_labels(directory, now, told);
  if (journal.last == 0) lock.note_journal_rows(0);  // the next journal is a new one
  return repaired;
}

}  // namespace dmoerm::label_store
