// Reads the sealed segments of a label store: no lock, while a labeller writes or not.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "label_store/key_table.h"
#include "label_store/segment.h"

namespace dmoerm::label_store {

/// Which labels are read.
struct LabelFilter {
  std::string category, point;  ///< "" = all
  bool replies = false;         ///< with the raw replies
};

/// A store as it is at one moment: labels that are sealed later are not seen.
class LabelReader {
 public:
  /// Open the segments of a store and check their seals.
  /// @throws ConfigError if it is no label store, IoError, DataError if a segment is damaged
  explicit LabelReader(const std::filesystem::path& directory);

  /// The latest label of every key. @throws DataError
  [[nodiscard]] LabelColumns read(const LabelFilter& filter) const;
  /// read() in pieces of at most 65,536 labels.
  void each_piece(const LabelFilter& filter, const std::function<void(const LabelColumns&)>& take) const;
  /// The latest label of every key, by key.
  [[nodiscard]] KeyTable latest(const LabelFilter& filter) const;

  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  /// Labels in the segments, superseded ones included.
  [[nodiscard]] std::int64_t rows() const;

 private:
  std::vector<Segment> segments_;
};

/// LabelReader::read() of a store that is opened for this.
LabelColumns read_labels(const std::filesystem::path& directory, const LabelFilter& filter);

/// The rows of `rows` that hold for their keys.
LabelColumns only_latest(LabelColumns rows, const KeyTable& latest);

}  // namespace dmoerm::label_store
