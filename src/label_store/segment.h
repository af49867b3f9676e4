// Sealed label segments: immutable HDF5 files under a checksum.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file_seal.h"
#include "label_store/columns.h"

namespace dmoerm::label_store {

inline constexpr SealKind kSegmentSeal{"label segment", "`dmoerm labels repair` saves what is readable"};
inline constexpr std::int64_t kSegmentSchema = 1;

/// Costs under one category, point, judge and template.
struct PointSpent {
  std::string category, point, judge, template_name;
  judge::Usage spent;
};

/// What a segment says about itself besides its rows.
struct SegmentNotes {
  std::vector<std::string> replaces;     ///< segments whose rows are here: they count no longer
  std::string salvaged;                  ///< the damaged segment whose rows are here: it counts no longer
  std::int64_t rows_lost = 0;            ///< labels of `salvaged` that could not be read any more
  std::vector<PointSpent> rows_dropped;  ///< costs of labels that were superseded or lost, and are in no segment any more
};

/// Rows that follow each other and share category, point, judge and template.
struct SegmentRun {
  std::int32_t category = 0, point = 0, judge = 0, template_name = 0;  ///< indices into SegmentAbout::names
  std::int64_t first = 0, rows = 0;
  judge::Usage spent;
};

struct SegmentAbout {
  std::vector<std::string> names;
  std::vector<SegmentRun> runs;
  std::int64_t rows = 0;
  std::int64_t last_sequence = 0;  ///< highest number of a label here
  SegmentNotes notes;
  /// Over the rows and notes.rows_dropped.
  [[nodiscard]] judge::Usage spent() const;
};

/// Write `rows` as a sealed segment: aside, flushed, renamed, made read-only. `path` is there and on disk when it returns.
/// @throws IoError (disk full); nothing is left behind then
void write_segment(const std::filesystem::path& path, const LabelColumns& rows, const SegmentNotes& notes);

/// Which columns are read.
enum class Part {
  known,  ///< key, sequence, verdict, first_probability
  all_but_reply,
  all,
};

/// Not for several threads at once, even for reading: HDF5 handles are opened as they are needed.
class Segment {
 public:
  /// Check the seal, then open. @throws IoError, DataError if it is damaged or of a newer version
  explicit Segment(const std::filesystem::path& path);
  ~Segment();
  Segment(Segment&&) noexcept;
  Segment& operator=(Segment&&) noexcept;

  [[nodiscard]] const SegmentAbout& about() const;
  [[nodiscard]] const std::filesystem::path& path() const;
  /// Append rows [first, first + count) to `into`. @throws DataError if a chunk is damaged
  void read(std::int64_t first, std::int64_t count, Part part, LabelColumns& into) const;

  /// Rows of a segment whose seal does not fit that are still what was written, by row_check(). HDF5 may crash or hang over such
  /// a file: call it in a process of its own.
  /// @param about  what the file says of itself, as far as it can be read
  static LabelColumns salvage(const std::filesystem::path& path, SegmentAbout& about);

 private:
  struct Impl;
  explicit Segment(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label_store
