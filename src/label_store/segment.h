// Sealed label segments: immutable HDF5 files with a checksum over all of their bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file_seal.h"
#include "label_store/columns.h"

namespace dmoerm::label_store {

inline constexpr SealKind kSegmentSeal{"label segment", "`dmoerm label-store repair` saves what is readable"};
inline constexpr std::int64_t kSegmentSchema = 1;

struct PointSpent : PointKey {
  judge::Usage spent;
};

/// What a segment stores besides its rows.
struct SegmentNotes {
  std::vector<std::string> replaces;     ///< Segments whose rows are here, so that they no longer count
  std::string salvaged;                  ///< Damaged segment whose rows are here, so that it no longer counts
  std::int64_t rows_lost = 0;            ///< Labels of `salvaged` that could not be read
  std::vector<PointSpent> rows_dropped;  ///< Costs of superseded or lost labels that no segment holds any more
};

/// Consecutive rows with the same category, point, judge and template.
struct SegmentRun {
  std::int32_t category = 0, point = 0, judge = 0, template_name = 0;  ///< Indices into SegmentAbout::names
  std::int64_t first = 0, rows = 0;
  judge::Usage spent;
};

struct SegmentAbout {
  std::vector<std::string> names;
  std::vector<SegmentRun> runs;
  std::int64_t rows = 0;
  std::int64_t last_sequence = 0;  ///< Highest label number here
  SegmentNotes notes;
  [[nodiscard]] PointKey point_key(const SegmentRun& run) const;
  /// Costs of the rows and of notes.rows_dropped.
  [[nodiscard]] judge::Usage spent() const;
};

/// Write `rows` as a sealed segment: to a temporary file, flushed, renamed, made read-only. `path` is on disk when it returns.
/// @throws IoError, e.g. when the disk is full; then nothing is left behind
void write_segment(const std::filesystem::path& path, const LabelColumns& rows, const SegmentNotes& notes);

/// Which columns are read.
enum class ColumnSet {
  index,  ///< key, sequence, verdict, first_probability: what a VerdictIndex holds
  without_replies,
  all,
};

/// For one thread, even for reading: HDF5 handles are opened when they are needed.
class Segment {
 public:
  /// Check the seal, then open the file. @throws IoError, DataError if it is damaged or of a newer version
  explicit Segment(const std::filesystem::path& path);
  ~Segment();
  Segment(Segment&&) noexcept;
  Segment& operator=(Segment&&) noexcept;

  [[nodiscard]] const SegmentAbout& about() const;
  [[nodiscard]] const std::filesystem::path& path() const;
  /// Append rows [first, first + count) to `into`. @throws DataError if a chunk is damaged
  void read(std::int64_t first, std::int64_t count, ColumnSet columns, LabelColumns& into) const;

  /// The rows of a damaged segment that are undamaged, by row_check(). HDF5 may crash or hang on such a file: call this in a
  /// separate process.
  /// @param about  receives what the file stores besides its rows
  static LabelColumns salvage(const std::filesystem::path& path, SegmentAbout& about);

 private:
  struct Impl;
  explicit Segment(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label_store
