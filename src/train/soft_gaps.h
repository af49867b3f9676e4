// Soft targets of pairs whose responses have scores: a wide gap is a surer preference than a narrow one.
#pragma once
#include <string_view>
#include <vector>

#include "data/token_store.h"
#include "train/training_set.h"

namespace dmoerm::train {

/// Give each pair whose scores are in its order, g apart, the target sigmoid(g / (soft_gaps * m)), where m is the mean gap of
/// such pairs of its category in `training`. Pairs without scores, with scores in the other order, with a margin or with a soft
/// target already stay as they are.
/// @param label      label that the pairs are of
/// @param soft_gaps  see config::TrainConfig; 0 changes nothing
void soften_by_gaps(const data::TokenStore& store, std::string_view label, double soft_gaps, std::vector<LabelledGroup>& training,
                    std::vector<LabelledGroup>& validation);

}  // namespace dmoerm::train
