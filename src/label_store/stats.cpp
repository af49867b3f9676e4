#include "label_store/stats.h"

#include <map>
#include <utility>

#include "label_store/reader.h"

namespace dmoerm::label_store {

StoreStats store_stats(const std::filesystem::path& directory) {
  StoreStats stats;
  stats.lock = StoreLock::read(directory);
  const LabelReader reader(directory);
  const VerdictIndex latest = reader.latest({});
  std::map<PointKey, PointStats> points;
  for (const Segment& segment : reader.segments()) {
    ++stats.segments;
    stats.bytes += static_cast<std::int64_t>(std::filesystem::file_size(segment.path()));
    const SegmentAbout& about = segment.about();
    for (const PointSpent& dropped : about.notes.rows_dropped) {
      points[dropped].spent += dropped.spent;
    }
    for (const SegmentRun& run : about.runs) {
      PointStats& p = points[about.point_key(run)];
      p.spent += run.spent;
      LabelColumns rows;
      segment.read(run.first, run.rows, ColumnSet::index, rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (latest.sequence(rows.key[i]) != rows.sequence[i]) continue;
        ++p.labels;
        ++p.verdicts[rows.verdict[i]];
      }
    }
  }
  for (auto& [key, p] : points) {
    static_cast<PointKey&>(p) = key;
    stats.labels += p.labels;
    stats.spent += p.spent;
    stats.points.push_back(std::move(p));
  }
  return stats;
}

}  // namespace dmoerm::label_store
