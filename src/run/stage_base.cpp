#include "run/stage_base.h"

#include <ATen/ops/tensor.h>

#include "base/error.h"
#include "run/head_start.h"
#include "run/stage_aggregator.h"
#include "run/task_settings.h"
#include "run/training_task.h"
#include "train/checkpoint.h"
#include "train/soft_gaps.h"

namespace dmoerm::run {

nlohmann::json base_settings(const config::RunConfig& config, const plan::TaskId& task, std::int64_t steps) {
  nlohmann::json settings{{"train", training_settings(config.base)}, {"steps", steps}, {"categories", all_categories(config)}};
  settings.update(phase1_settings(config, task.fold));
  settings.update(head_settings(config));
  return settings;
}

void run_base(RunContext& context, const plan::TaskId& task, train::Subset subset, std::int64_t steps_max,
              const TaskIdentity& identity, comm::Communicator& ranks) {
  const std::int32_t category = context.category_index(task);
  const nn::RewardModel fresh = context.fresh_model(task.without_fold());
  std::vector<train::Trainee> trainees(1);
  trainees[0] = {
      task.text(), fresh,
      train::labelled_groups(context.store(), category, {subset, task.fold}, preference::kOverall, context.config(),
                             train::ties_of(context.config().base)),
      train::labelled_groups(context.store(), category, train::Subset::validation, preference::kOverall, context.config())};
  config::TrainConfig train = context.config().base;
  train::soften_by_gaps(context.store(), preference::kOverall, train.soft_gaps, trainees[0].training, trainees[0].validation);
  if (steps_max > 0) train.steps_max = steps_max;
  start_heads(context, trainees, ranks);
  const auto gpus = gpu_ranks(context, ranks);
  comm::Communicator& training_ranks = gpus ? *gpus : ranks;
  ranks.use_wire(wire_of(context.config()));
  const train::TrainerContext trainer = trainer_context(context, train, task, identity, training_ranks);
  const train::TrainOutcome outcome = train::train_rewards(trainer, trainees).front();
  if (!outcome.failure.empty()) throw NumericError("training-failed", outcome.failure);
  nlohmann::json metrics = metrics_of(outcome, trainees[0]);
  if (task.category.empty()) {  // the fallback, whose scores a user may normalise
    const train::GroupRewards scored = context.scorer(ranks).rewards(fresh, trainees[0].validation);
    std::vector<moe::ExpertFeatures::Group> groups;
    for (std::size_t g = 0; g < scored.first.size(); ++g)
      groups.push_back({static_cast<std::int64_t>(scored.first[g]), std::ssize(trainees[0].validation[g].responses), {}});
    metrics["score"] = score_statistics(at::tensor(at::ArrayRef<float>(scored.rewards)), groups);
  }
  if (ranks.rank() != 0) return;
  const auto files = fresh.save(context.directory().task(task));
  context.directory().complete(task, identity, files, metrics);
  train::remove_checkpoints(context.directory().task(task));
}

}  // namespace dmoerm::run
