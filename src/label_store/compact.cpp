#include "label_store/compact.h"

#include <fmt/format.h>

#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "label_store/reader.h"
#include "label_store/store_directory.h"
#include "label_store/store_lock.h"

namespace dmoerm::label_store {
namespace {

namespace fs = std::filesystem;

/// Segments that are merged into one.
class Batch {
 public:
  explicit Batch(const VerdictIndex& latest) : latest_(&latest) {}

  void add(const Segment& segment) {
    LabelColumns all;
    segment.read(0, segment.about().rows, ColumnSet::all, all);
    const std::vector<std::size_t> starts = all.reply_starts();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (latest_->sequence(all.key[i]) == all.sequence[i]) {
        rows_.add_row(all, i, starts[i]);
        continue;
      }
      costs_[all.point_key(i)] += all.spent(i);
      ++dropped_;
    }
    for (const PointSpent& p : segment.about().notes.rows_dropped) costs_[p] += p.spent;
    files_.push_back(segment.path());
  }

  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(rows_.size()); }

  /// Publish the new segment, read it back, then remove those that it replaces. A single segment without superseded rows is kept.
  void finish(const fs::path& directory, Compaction& result) {
    if (files_.size() < 2 && dropped_ == 0) return;
    SegmentNotes notes;
    for (const fs::path& file : files_) notes.replaces.push_back(file.filename().string());
    for (const auto& [key, spent] : costs_) notes.rows_dropped.push_back({key, spent});
    const fs::path target = next_segment_path(directory);
    write_segment(target, rows_, notes);
    const Segment written(target);
    DMOERM_CHECK(written.about().rows == rows(), "a segment holds the rows that were written");
    for (const fs::path& file : files_) {
      std::error_code error;
      if (!fs::remove(file, error) && error)
        throw IoError("cannot-remove-file", fmt::format("{}: cannot remove: {}", file.string(), error.message()));
    }
    sync_path(directory);
    result.rows_dropped += dropped_;
  }

 private:
  const VerdictIndex* latest_;
  LabelColumns rows_;
  std::map<PointKey, judge::Usage> costs_;  ///< Costs of dropped labels
  std::vector<fs::path> files_;
  std::int64_t dropped_ = 0;
};

void count(const std::vector<Segment>& segments, std::int64_t& number, std::int64_t& bytes) {
  number = static_cast<std::int64_t>(segments.size());
  for (const Segment& segment : segments) bytes += static_cast<std::int64_t>(fs::file_size(segment.path()));
}

}  // namespace

Compaction compact_store(const fs::path& directory, std::int64_t rows_max) {
  if (rows_max < 1) throw ConfigError("option-out-of-range", fmt::format("--rows: expected 1 or more, found {}", rows_max));
  require_store(directory);
  const StoreLock lock(directory);
  tidy(directory, open_whole_segments(directory));
  const LabelReader reader(directory);
  const VerdictIndex latest = reader.latest({});
  Compaction result;
  count(reader.segments(), result.segments_before, result.bytes_before);
  Batch batch(latest);
  for (const Segment& segment : reader.segments()) {
    if (batch.rows() > 0 && batch.rows() + segment.about().rows > rows_max) {
      batch.finish(directory, result);
      batch = Batch(latest);
    }
    batch.add(segment);
  }
  batch.finish(directory, result);
  count(LabelReader(directory).segments(), result.segments_after, result.bytes_after);
  return result;
}

}  // namespace dmoerm::label_store
