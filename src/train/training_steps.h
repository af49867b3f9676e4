// How long a training may take.
#pragma once
#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"
#include "train/label_set.h"

namespace dmoerm::train {

/// Updates that training takes at most: steps_max, or epochs_max passes.
std::int64_t total_steps(const config::TrainConfig& train, const data::TokenStore& store,
                         const std::vector<LabelledGroup>& groups);

}  // namespace dmoerm::train
