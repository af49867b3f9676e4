#include "run/stage_expert.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "nn/device.h"
#include "nn/int8_product.h"
#include "run/head_start.h"
#include "run/imported_experts.h"
#include "run/point_labels.h"
#include "run/task_settings.h"
#include "run/training_task.h"
#include "train/checkpoint.h"
#include "train/soft_gaps.h"

namespace dmoerm::run {
namespace {

/// Lets a base read int8 weights while experts train, if the configuration says so.
class BaseInInt8 {
 public:
  BaseInInt8(RunContext& context, const plan::TaskId& task, nn::Backbone& base) : context_(context), base_(base) {
    const nn::BaseWeights weights = nn::pick_weights(config::word(context.config().experts.base_weights));
    if (weights == nn::BaseWeights::float32) return;
    spdlog::info("[{}] the base is multiplied in int8 while its experts train (experts.base_weights)", task.text());
    if (const auto note = nn::int8_saves_no_time(); !note.empty()) spdlog::warn("[{}] {}", task.text(), note);
    use(weights);
  }
  ~BaseInInt8() {
    if (base_.base_weights() != nn::BaseWeights::float32) use(nn::BaseWeights::float32);
  }
  BaseInInt8(const BaseInInt8&) = delete;
  BaseInInt8& operator=(const BaseInInt8&) = delete;

 private:
  void use(nn::BaseWeights weights) {
    context_.trunks().clear();  // the states in it are those of other weights
    base_.use(weights);
  }
  RunContext& context_;
  nn::Backbone& base_;
};

/// Train the experts of some points of a task together. @return them, on every rank
std::vector<FinishedExpert> train_experts(RunContext& context, const plan::TaskId& task, const std::vector<std::string>& points,
                                          const TaskIdentity& identity, const nn::RewardModel& base, comm::Communicator& ranks) {
  const config::TrainConfig& train = context.config().experts.train;
  const BaseInInt8 in_int8(context, task, *base.shared_backbone());
  std::vector<train::Trainee> trainees;
  for (const std::string& point : points) {
    const PointLabels labels(context, plan::TaskId::label(task.category, point, task.round));
    std::vector<train::LabelledGroup> training = labels.training({train::Subset::phase1, task.fold}, train),
                                      validation = labels.validation();
    if (context.config().labels.judges.empty())
      train::soften_by_gaps(context.store(), point, train.soft_gaps, training, validation);
    nn::RewardModel expert = base.start_expert(
        context.lora_of(train), mix64(context.config().seed) ^ stable_hash(task.without_fold().text() + "/" + point));
    trainees.push_back({plan::TaskId::expert(task.category, {point}, task.round, task.fold).text(), std::move(expert),
                        std::move(training), std::move(validation)});
  }
  start_heads(context, trainees, ranks);
  const auto gpus = gpu_ranks(context, ranks);
  comm::Communicator& training_ranks = gpus ? *gpus : ranks;
  training_ranks.use_wire(wire_of(context.config()));
  const train::TrainerContext trainer = trainer_context(context, train, task, identity, training_ranks);
  const std::vector<train::TrainOutcome> outcomes = train::train_rewards(trainer, trainees);
  std::string failures;
  for (const train::TrainOutcome& outcome : outcomes)
    failures += outcome.failure.empty() ? "" : (failures.empty() ? "" : "; ") + outcome.failure;
  if (!failures.empty()) throw NumericError("training-failed", failures);
  std::vector<FinishedExpert> trained;
  for (std::size_t i = 0; i < trainees.size(); ++i)
    trained.push_back({points[i], trainees[i].model, metrics_of(outcomes[i], trainees[i])});
  return trained;
}

}  // namespace

nlohmann::json expert_settings(const config::RunConfig& config, const config::CategoryConfig& category, std::int32_t fold) {
  nlohmann::json settings{{"train", training_settings(config.experts.train)}, {"category", result_settings(category)}};
  settings.update(phase1_settings(config, fold));
  settings.update(head_settings(config));
  if (config.experts.base_weights != config::BaseWeights::float32)
    settings["base_weights"] = config::word(config.experts.base_weights);
  if (!config.labels.judges.empty()) settings["labels"] = result_settings(config.labels);
  return settings;
}

void run_experts(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  const nn::RewardModel base = context.load_model(plan::TaskId::base(task.category, task.fold));
  const config::CategoryConfig& category = context.category(context.category_index(task));
  std::vector<FinishedExpert> experts;
  std::vector<std::string> to_train;
  for (const std::string& point : task.points) {
    if (category.imported(point).empty())
      to_train.push_back(point);
    else
      experts.push_back(
          import_expert(context, task, point, identity.settings.at("imported").at(point).get<std::string>(), base, ranks));
  }
  if (!to_train.empty())
    std::ranges::move(train_experts(context, task, to_train, identity, base, ranks), std::back_inserter(experts));
  if (ranks.rank() != 0) return;
  std::vector<std::string> files;
  nlohmann::json metrics = nlohmann::json::object();
  for (const FinishedExpert& expert : experts) {
    expert.model.save(context.directory().task(task) / expert.point);
    files.push_back(expert.point + "/adapter_config.json");
    files.push_back(expert.point + "/adapter_model.safetensors");
    metrics[expert.point] = expert.metrics;
  }
  context.directory().complete(task, identity, files, metrics);
  train::remove_checkpoints(context.directory().task(task));
}

}  // namespace dmoerm::run
