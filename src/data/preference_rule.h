// The rule that derives strictly ordered pairs of responses from what is known about a group.
#pragma once
#include <cstdint>
#include <vector>

#include "data/store_index.h"
#include "preference/preference.h"

namespace dmoerm::data {

/// Number of the label "overall" in every store.
inline constexpr std::int32_t kOverallLabel = 0;

/// The ordered pairs of a group under one label. For each pair of responses a stated pair counts before a verdict, and a verdict
/// before scores. A pair without an order (contradictory statements, or verdicts that prefer different responses in the two
/// orders) is settled too: scores do not overrule it. Scores order the other pairs if their gap is at least score_gap_min, or not
/// 0 if score_gap_min is 0.
/// @param label  number of the label; a negative number gives no pairs
std::vector<preference::Preference> preferences_of(const StoreColumns& columns, const StoreIndex& index, std::int64_t group,
                                                   std::int32_t label, double score_gap_min);

}  // namespace dmoerm::data
