// The rule that turns what is known about a group into strictly ordered pairs of its responses.
#pragma once
#include <cstdint>
#include <vector>

#include "data/store_index.h"
#include "preference/preference.h"

namespace dmoerm::data {

/// Number of the label "overall" in every store.
inline constexpr std::int32_t kOverallLabel = 0;

/// Pairs of a group under one label. A stated pair goes before a verdict, a verdict before scores: each decides its pair, also
/// where it decides for none (statements that contradict each other, a judge that did not mean the same response in both orders).
/// Scores decide the rest, by a gap >= score_gap_min, or any gap if it is 0.
/// @param label  number of the label; one below 0 gives no pairs
std::vector<preference::Preference> preferences_of(const StoreColumns& columns, const StoreIndex& index, std::int64_t group,
                                                   std::int32_t label, double score_gap_min);

}  // namespace dmoerm::data
