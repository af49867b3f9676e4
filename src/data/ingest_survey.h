// The first pass over the inputs, which finds what must be known about all groups before the first one is stored.
#pragma once
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/ingest_inputs.h"

namespace dmoerm::data {

/// Place of a train group in the random order by which the groups of a category are kept: by the content, then by the labels.
using DrawKey = std::pair<std::uint64_t, std::uint64_t>;

struct Survey {
  std::int64_t groups = 0;              ///< groups read, those included that will be left out
  std::vector<std::string> categories;  ///< categories of the store: as configured, or those found, sorted
  std::unordered_map<TextKey, preference::Split, TextKeyHash> splits;  ///< split of every prompt
  std::map<std::string, DrawKey> draw_end;  ///< category -> key from which on its train groups are left out

  /// Whether data.groups_per_category_max or the category's groups_max leaves this group out.
  [[nodiscard]] bool thinned(const InputGroup& item, preference::Split split, std::uint64_t seed) const;
};

/// Largest number of train groups of a category, and of responses of its groups. The category's own setting comes before that of
/// all categories; 0 = no limit.
std::int64_t groups_max(const IngestRequest& request, const std::string& category);
std::int64_t responses_max(const IngestRequest& request, const std::string& category);

/// Read all inputs once. If rows put one prompt into several splits, test wins over validation, and validation over train. If no
/// row states a split, the conversation decides: the split that rows state for another of its turns, else a hash of its
/// beginning.
/// @throws DataError listing the bad lines if there are more than tolerated; ConfigError if configured categories have no data
Survey survey_inputs(const IngestRequest& request);

}  // namespace dmoerm::data
