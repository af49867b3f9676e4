#include "label_store/stats.h"

#include <map>
#include <tuple>
#include <utility>

#include "label_store/reader.h"

namespace dmoerm::label_store {

StoreStats store_stats(const std::filesystem::path& directory) {
  StoreStats stats;
  stats.lock = StoreLock::read(directory);
  const LabelReader reader(directory);
  const VerdictIndex latest = reader.latest({});
  std::map<std::tuple<std::string, std::string, std::string, std::string>, PointStats> points;
  const auto point = [&](const std::string& category, const std::string& name, const std::string& judge,
                         const std::string& template_name) -> PointStats& {
    PointStats& p = points[{category, name, judge, template_name}];
    p.category = category;
    p.point = name;
    p.judge = judge;
    p.template_name = template_name;
    return p;
  };
  for (const Segment& segment : reader.segments()) {
    ++stats.segments;
    stats.bytes += static_cast<std::int64_t>(std::filesystem::file_size(segment.path()));
    const SegmentAbout& about = segment.about();
    for (const PointSpent& dropped : about.notes.rows_dropped) {
      point(dropped.category, dropped.point, dropped.judge, dropped.template_name).spent += dropped.spent;
    }
    const auto word = [&](std::int32_t name) { return about.names[static_cast<std::size_t>(name)]; };
    for (const SegmentRun& run : about.runs) {
      PointStats& p = point(word(run.category), word(run.point), word(run.judge), word(run.template_name));
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
  for (auto& [name, p] : points) {
    stats.labels += p.labels;
    stats.spent += p.spent;
    stats.points.push_back(std::move(p));
  }
  return stats;
}

}  // namespace dmoerm::label_store
