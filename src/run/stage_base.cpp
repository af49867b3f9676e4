#include "run/stage_base.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "plan/graph_builder.h"
#include "run/head_start.h"
#include "run/point_labels.h"
#include "run/stage_aggregator.h"
#include "run/task_settings.h"
#include "run/training_task.h"
#include "train/checkpoint.h"
#include "train/soft_gaps.h"

namespace dmoerm::run {
namespace {

/// How a model of phase 1 or a baseline is trained.
config::TrainConfig training_of(const config::RunConfig& config, const plan::TaskId& task) {
  config::TrainConfig train = config.base;
  if (task.category.empty() && config.single_lr > 0) train.lr = config.single_lr;
  return train;
}

/// What a model of phase 1 or a baseline trains on, and the overall preferences that decide when it stops. A model that learns
/// from points too has one head for all pairs: a group is there once for each of its labels.
train::Trainee trainee_of(const RunContext& context, const plan::TaskId& task, train::Part part, nn::RewardModel model) {
  const config::RunConfig& config = context.config();
  const config::TrainConfig& train = config.base;
  const data::TokenStore& store = context.store();
  const std::int32_t category = context.category_index(task);
  train::Trainee trainee{task.text(), std::move(model),
                         train::labelled_groups(store, category, part, preference::kOverall, config, train::ties_of(train)),
                         train::labelled_groups(store, category, train::Subset::validation, preference::kOverall, config)};
  train::soften_by_gaps(store, preference::kOverall, train.soft_gaps, trainee.training, trainee.validation);
  const std::vector<std::int64_t> known = train::groups_of(store, category, part, config);
  for (const plan::TaskId& label : plan::point_labels_of(config, task)) {
    std::vector<train::LabelledGroup> of_point = PointLabels(context, label).training(part, train), unused;
    // A fold of all categories leaves out more than that of the point's category.
    std::erase_if(of_point, [&](const train::LabelledGroup& g) { return !std::ranges::binary_search(known, g.group); });
    if (config.labels.judges.empty()) train::soften_by_gaps(store, label.points.front(), train.soft_gaps, of_point, unused);
    std::ranges::move(of_point, std::back_inserter(trainee.training));
  }
  return trainee;
}

}  // namespace

nlohmann::json base_settings(const config::RunConfig& config, const plan::TaskId& task, std::int64_t steps) {
  nlohmann::json settings{
      {"train", training_settings(training_of(config, task))}, {"steps", steps}, {"categories", all_categories(config)}};
  settings.update(phase1_settings(config, task.fold));
  settings.update(head_settings(config));
  if (!plan::point_labels_of(config, task).empty()) settings["labels"] = config::word(config::BaseLabels::all);
  return settings;
}

void run_base(RunContext& context, const plan::TaskId& task, train::Subset subset, std::int64_t steps_max,
              const TaskIdentity& identity, comm::Communicator& ranks) {
  const nn::RewardModel model = context.start_model(task);
  std::vector<train::Trainee> trainees = {trainee_of(context, task, {subset, task.fold}, model)};
  config::TrainConfig train = training_of(context.config(), task);
  if (steps_max > 0) train.steps_max = steps_max;
  start_heads(context, trainees, ranks);
  const auto gpus = gpu_ranks(context, ranks);
  comm::Communicator& training_ranks = gpus ? *gpus : ranks;
  training_ranks.use_wire(wire_of(context.config()));
  const train::TrainerContext trainer = trainer_context(context, train, task, identity, training_ranks);
  const train::TrainOutcome outcome = train::train_rewards(trainer, trainees).front();
  if (!outcome.failure.empty()) throw NumericError("training-failed", outcome.failure);
  nlohmann::json metrics = metrics_of(outcome, trainees[0]);
  if (task == plan::TaskId::single()) {  // the fallback, whose scores a user may normalise
    const train::GroupRewards scored = context.scorer(ranks).rewards(model, trainees[0].validation);
    std::vector<moe::ExpertFeatures::Group> groups;
    for (std::size_t g = 0; g < scored.first.size(); ++g)
      groups.push_back({static_cast<std::int64_t>(scored.first[g]), std::ssize(trainees[0].validation[g].responses), {}});
    metrics["score"] = score_statistics(at::tensor(at::ArrayRef<float>(scored.rewards)), groups);
  }
  if (ranks.rank() != 0) return;
  const auto files = model.save(context.directory().task(task));
  context.directory().complete(task, identity, files, metrics);
  train::remove_checkpoints(context.directory().task(task));
}

}  // namespace dmoerm::run
