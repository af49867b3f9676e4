#include "plan/task_load.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::plan {

Load training_load(const config::TrainConfig& train, const config::ClusterConfig& cluster, const GroupSizes& training,
                   const GroupSizes& validation, double steps, int models, config::HeadStart head) {
  Load load;
  load.steps = steps, load.groups_per_step = static_cast<double>(train.groups_per_step);
  load.group_tokens = training.tokens, load.plain_group_tokens = training.plain_tokens, load.responses = training.responses;
  const double evaluated =
      train.eval_groups_max > 0 ? std::min(validation.groups, static_cast<double>(train.eval_groups_max)) : validation.groups;
  load.read_groups = (1 + std::ceil(steps / static_cast<double>(train.eval_every_steps))) * evaluated;
  if (head == config::HeadStart::ridge) {
    const auto most = static_cast<double>(kHeadStartGroups);
    load.read_groups += std::min(training.groups, most) + std::min(validation.groups, most);
  }
  load.averages = train.average_decay > 0;
  load.models = models, load.all_weights = train.tuning == config::Tuning::full,
  load.adapted_layers = train.tuning == config::Tuning::full ? 0 : static_cast<double>(train.lora_layers);
  load.trunk_groups = std::min(training.groups, steps * load.groups_per_step) + evaluated;
  load.adapter_rank = static_cast<double>(train.lora_rank);
  load.shard = train.shard, load.recompute = train.gradient_checkpointing,
  load.bytes_sent = cluster.gradient_dtype == config::Dtype::bfloat16 ? 2 : 4;
  return load;
}

Load reading_load(const config::TrainConfig& train, const GroupSizes& groups, int models) {
  Load load;
  load.group_tokens = groups.tokens, load.plain_group_tokens = groups.plain_tokens, load.read_groups = groups.groups;
  load.models = models, load.adapted_layers = train.tuning == config::Tuning::full ? 0 : static_cast<double>(train.lora_layers),
  load.trunk_groups = groups.groups;
  load.adapter_rank = static_cast<double>(train.lora_rank);
  return load;
}

Load evaluation_load(const config::TrainConfig& train, const GroupSizes& test, int models, double other_models, int alone,
                     std::int64_t mix_top) {
  const double routed_away = 0.1 * static_cast<double>(mix_top);
  Load load = reading_load(train, test, models);
  if (other_models > 0) {
    load.read_groups += routed_away * test.groups * other_models / models;
    load.trunk_groups += routed_away * test.groups;
  }
  load.whole_read_groups = test.groups * (alone + kPromptShare);
  return load;
}

Load fitting_load(const config::AggregatorConfig& aggregator, const GroupSizes& training, const GroupSizes& validation,
                  int models) {
  constexpr double kSmallFits = 2 * 6;  // mlp and gate: once, and once for each of moe::kFolds
  constexpr double kStopGroups = 400;   // most groups that stop them
  const auto steps = static_cast<double>(aggregator.steps_max);
  const double evaluations = 1 + std::floor(steps / static_cast<double>(aggregator.eval_every_steps));
  Load load;
  load.models = models;
  load.fit_steps = steps;
  load.fit_rows = std::min(training.groups, static_cast<double>(aggregator.groups_per_step)) * training.responses;
  load.fit_read_rows = evaluations * validation.groups * validation.responses + training.groups * training.responses;
  load.small_steps = kSmallFits * steps;
  load.small_read_rows = kSmallFits * evaluations * std::min(kStopGroups, training.groups / 5) * training.responses +
                         4 * training.groups * training.responses;  // each fold once, and all groups by what is kept
  return load;
}

Load fixed_load(double seconds) {
  Load load;
  load.seconds = seconds;
  return load;
}

}  // namespace dmoerm::plan
