#include "train/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dmoerm::train {

double learning_rate(const config::TrainConfig& config, std::int64_t step, std::int64_t steps_total) {
  if (step < config.warmup_steps) return config.lr * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  if (config.schedule == config::Schedule::constant) return config.lr;
  const auto span = static_cast<double>(std::max<std::int64_t>(1, steps_total - config.warmup_steps));
  const double done = std::min(1.0, static_cast<double>(step - config.warmup_steps) / span);
  return config.schedule == config::Schedule::linear ? config.lr * (1 - done)
                                                     : config.lr * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace dmoerm::train
