// The learning rate of each update.
#pragma once
#include <cstdint>

#include "config/run_config.h"

namespace dmoerm::train {

/// A linear warm-up, then constant, or falling linearly or as a cosine to zero at `steps_total`.
/// @param step  0 for the first update
double learning_rate(const config::TrainConfig& config, std::int64_t step, std::int64_t steps_total);

}  // namespace dmoerm::train
