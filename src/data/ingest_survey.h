// The first pass over the inputs: what must be known about all groups before the first one is stored.
#pragma once
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/ingest_inputs.h"

namespace dmoerm::data {

/// Order of a category's train groups in the draw of those that are kept: of the content, then of what the labels say.
using DrawKey = std::pair<std::uint64_t, std::uint64_t>;

struct Survey {
  std::vector<std::string> categories;                                 ///< of the store: as configured, or those found, sorted
  std::unordered_map<TextKey, preference::Split, TextKeyHash> splits;  ///< of every prompt
  std::map<std::string, DrawKey> draw_end;  ///< category -> its train groups with a draw_key from here on are thinned out

  /// Whether data.groups_per_category_max or the category's groups_max leaves this group out.
  [[nodiscard]] bool thinned(const InputGroup& item, preference::Split split, std::uint64_t seed) const;
};

/// Most train groups of a category, most responses of its groups: its own setting before that of all; 0 = no limit.
std::int64_t groups_max(const IngestRequest& request, const std::string& category);
std::int64_t responses_max(const IngestRequest& request, const std::string& category);

/// Read everything once. A prompt that rows put into several splits goes to test before validation before train; one without a
/// stated split goes by its hash.
/// @throws DataError listing the bad lines if there are more than tolerated; ConfigError for configured categories without data
Survey survey_inputs(const IngestRequest& request);

}  // namespace dmoerm::data
