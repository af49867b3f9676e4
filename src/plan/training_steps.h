// How many updates a training may make.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "config/run_config.h"

namespace dmoerm::plan {

/// Most updates of a training: steps_max, or as many as epochs_max epochs take.
/// @param epoch_groups  groups that one epoch visits, each as often as its weight says
inline std::int64_t training_steps(const config::TrainConfig& train, double epoch_groups) {
  if (train.steps_max > 0) return train.steps_max;
  const double steps = std::ceil(train.epochs_max * epoch_groups / static_cast<double>(train.groups_per_step));
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(steps));
}

}  // namespace dmoerm::plan
