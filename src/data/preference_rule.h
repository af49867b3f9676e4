// The rule that derives strictly ordered pairs of responses from what is known about a group.
#pragma once
#include <cstdint>
#include <vector>

#include "data/store_index.h"
#include "preference/ordered_pairs.h"

namespace dmoerm::data {

/// Number of the label "overall" in every store.
inline constexpr std::int32_t kOverallLabel = 0;

/// preference::ordered_pairs() of a stored group under one label.
/// @param label  number of the label; a negative number gives no pairs
std::vector<preference::Preference> preferences_of(const StoreView& columns, const IndexView& index, std::int64_t group,
                                                   std::int32_t label, double score_gap_min,
                                                   preference::Ties ties = preference::Ties::left_out);

/// Scores of a group's responses under one label; NaN where a response has none.
/// @param label  number of the label; under a negative number no response has a score
std::vector<double> scores_of(const StoreView& columns, const IndexView& index, std::int64_t group, std::int32_t label);

}  // namespace dmoerm::data
