// Reads the sealed segments of a label store. It takes no lock and can run while a labeller writes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "label_store/segment.h"
#include "label_store/verdict_index.h"

namespace dmoerm::label_store {

/// Which labels are read.
struct LabelFilter {
  std::string category, point;  ///< "" = all
  bool replies = false;         ///< Whether the raw replies are read
};

/// A store at one moment: labels that are sealed later are not seen.
class LabelReader {
 public:
  /// Open the segments of a store and check their seals.
  /// @throws ConfigError if it is not a label store, IoError, DataError if a segment is damaged
  explicit LabelReader(const std::filesystem::path& directory);

  /// The latest label of every key. @throws DataError
  [[nodiscard]] LabelColumns read(const LabelFilter& filter) const;
  /// read(), in pieces of at most 65,536 labels.
  void each_piece(const LabelFilter& filter, const std::function<void(const LabelColumns&)>& take) const;
  /// The verdict of the latest label of every key.
  [[nodiscard]] VerdictIndex latest(const LabelFilter& filter) const;

  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  /// Labels in the segments, superseded ones included.
  [[nodiscard]] std::int64_t rows() const;

 private:
  std::vector<Segment> segments_;
};

/// Those rows that are the latest of their keys.
LabelColumns only_latest(LabelColumns rows, const VerdictIndex& latest);

}  // namespace dmoerm::label_store
