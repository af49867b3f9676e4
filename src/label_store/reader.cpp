#include "label_store/reader.h"

#include <algorithm>
#include <utility>

#include "label_store/store_directory.h"

namespace dmoerm::label_store {
namespace {

constexpr std::int64_t kPiece = 1 << 16;

/// Consecutive rows of a segment.
struct Range {
  std::int64_t first = 0, rows = 0;
};

/// The rows of a segment that match the filter.
std::vector<Range> ranges(const SegmentAbout& about, const LabelFilter& filter) {
  std::vector<Range> found;
  const auto fits = [&](const std::string& wanted, std::int32_t name) {
    return wanted.empty() || about.names[static_cast<std::size_t>(name)] == wanted;
  };
  for (const SegmentRun& run : about.runs) {
    if (!fits(filter.category, run.category) || !fits(filter.point, run.point)) continue;
    if (!found.empty() && found.back().first + found.back().rows == run.first) {
      found.back().rows += run.rows;
    } else {
      found.push_back({run.first, run.rows});
    }
  }
  return found;
}

void add_to_index(const LabelColumns& rows, VerdictIndex& index) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    index.put(rows.key[i], {.verdict = rows.verdict_of(i), .first_probability = rows.first_probability[i]}, rows.sequence[i]);
  }
}

}  // namespace

LabelReader::LabelReader(const std::filesystem::path& directory) {
  require_store(directory);
  segments_ = open_whole_segments(directory).segments;
}

std::int64_t LabelReader::rows() const {
  std::int64_t all = 0;
  for (const Segment& segment : segments_) all += segment.about().rows;
  return all;
}

LabelColumns LabelReader::read(const LabelFilter& filter) const {
  LabelColumns rows;
  for (const Segment& segment : segments_) {
    for (const Range& range : ranges(segment.about(), filter)) {
      segment.read(range.first, range.rows, filter.replies ? ColumnSet::all : ColumnSet::without_replies, rows);
    }
  }
  VerdictIndex index;
  index.reserve(rows.size());
  add_to_index(rows, index);
  return index.size() == rows.size() ? rows : only_latest(std::move(rows), index);
}

void LabelReader::each_piece(const LabelFilter& filter, const std::function<void(const LabelColumns&)>& take) const {
  const VerdictIndex index = latest(filter);
  for (const Segment& segment : segments_) {
    for (const Range& range : ranges(segment.about(), filter)) {
      for (std::int64_t at = 0; at < range.rows; at += kPiece) {
        LabelColumns piece;
        segment.read(range.first + at, std::min(kPiece, range.rows - at),
                     filter.replies ? ColumnSet::all : ColumnSet::without_replies, piece);
        take(only_latest(std::move(piece), index));
      }
    }
  }
}

VerdictIndex LabelReader::latest(const LabelFilter& filter) const {
  VerdictIndex index;
  for (const Segment& segment : segments_) {
    for (const Range& range : ranges(segment.about(), filter)) {
      LabelColumns rows;
      segment.read(range.first, range.rows, ColumnSet::index, rows);
      index.reserve(index.size() + rows.size());
      add_to_index(rows, index);
    }
  }
  return index;
}

LabelColumns only_latest(LabelColumns rows, const VerdictIndex& latest) {
  const auto holds = [&](std::size_t i) { return latest.sequence(rows.key[i]) == rows.sequence[i]; };
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) kept += holds(i) ? 1 : 0;
  if (kept == rows.size()) return rows;
  LabelColumns result;
  const std::vector<std::size_t> starts = rows.reply_starts();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (holds(i)) result.add_row(rows, i, starts[i]);
  }
  return result;
}

}  // namespace dmoerm::label_store
