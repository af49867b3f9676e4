#include "train/training_steps.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::train {

std::int64_t total_steps(const config::TrainConfig& train, const data::TokenStore& store,
                         const std::vector<LabelledGroup>& groups) {
  if (train.steps_max > 0) return train.steps_max;
  std::int64_t pass = 0;
  for (const std::int32_t copies : copies_of(store, groups)) pass += std::max(1, copies);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(train.epochs_max * static_cast<double>(pass) /
                                                                       static_cast<double>(train.groups_per_step))));
}

}  // namespace dmoerm::train
