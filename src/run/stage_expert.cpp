#include "run/stage_expert.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "nn/device.h"
#include "plan/graph_builder.h"
#include "run/check_labels.h"
#include "run/head_start.h"
#include "run/task_settings.h"
#include "run/training_task.h"
#include "train/checkpoint.h"
#include "train/soft_gaps.h"

namespace dmoerm::run {
namespace {

struct PointLabels {
  std::vector<train::LabelledGroup> training, validation;
};

/// The fewest pairs that an expert trains on. Before the last round it is the share of labels.rounds that has been labelled.
std::int64_t labels_min(const config::RunConfig& config, const plan::TaskId& task) {
  const int rounds = plan::label_rounds(config);
  if (task.fold > 0) return labels_min_of_fold(config);
  return task.round == 0 ? config.experts.labels_min : (config.experts.labels_min * task.round + rounds - 1) / rounds;
}

/// A point's labels: from the judges if the configuration names any, else from the data.
PointLabels labels_of(const RunContext& context, const plan::TaskId& experts, const std::string& point) {
  const std::int32_t category = context.category_index(experts);
  const train::Part training{train::Subset::phase1, experts.fold};
  const config::RunConfig& config = context.config();
  const data::TokenStore& store = context.store();
  const preference::Ties ties = train::ties_of(config.experts.train);
  if (config.labels.judges.empty()) {
    PointLabels labels{train::labelled_groups(store, category, training, point, config, ties),
                       train::labelled_groups(store, category, train::Subset::validation, point, config)};
    train::soften_by_gaps(store, point, config.experts.train.soft_gaps, labels.training, labels.validation);
    return labels;
  }
  const plan::TaskId task = plan::TaskId::label(experts.category, point, experts.round);
  const auto verdicts = label::read_judged_groups(context.directory().task(task) / "verdicts.jsonl");
  PointLabels labels{train::judged_groups(store, category, training, verdicts, config.labels.soft, config, ties),
                     train::judged_groups(store, category, train::Subset::validation, verdicts, config.labels.soft, config)};
  if (labels.validation.empty()) {
    spdlog::warn("[{}] the judges gave no verdict on the validation split: the data's own labels of it decide when to stop",
                 task.text());
    labels.validation = train::labelled_groups(store, category, train::Subset::validation, point, config);
  }
  const std::int64_t pairs = train::count_pairs(labels.training);
  if (const std::int64_t least = labels_min(config, experts); pairs < least) {
    throw DataError(
        "too-few-labels",
        fmt::format("{}: {} pairs of phase 1{} have the same verdict in both orders, at least {} are needed "
                    "(experts.labels_min); label/report.md shows what the judges answered",
                    task.text(), pairs,
                    experts.fold > 0 ? fmt::format(" outside of fold {} of {}", experts.fold, config.folds) : "", least));
  }
  if (labels.validation.empty())
    throw DataError(
        "no-validation-labels",
        fmt::format("{}: no verdict on the validation split, which decides when to stop: add it to labels.splits", task.text()));
  return labels;
}

/// Lets a base read int8 weights while experts train, if the configuration says so.
class BaseInInt8 {
 public:
  BaseInInt8(RunContext& context, const plan::TaskId& task, nn::Backbone& base) : context_(context), base_(base) {
    const nn::BaseWeights weights = nn::pick_weights(config::word(context.config().experts.base_weights));
    if (weights == nn::BaseWeights::float32) return;
    spdlog::info("[{}] the base is multiplied in int8 while its experts train (experts.base_weights)", task.text());
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
  const config::TrainConfig& train = context.config().experts.train;
  const BaseInInt8 in_int8(context, task, *base.shared_backbone());
  std::vector<train::Trainee> trainees;
  for (const std::string& point : task.points) {
    PointLabels labels = labels_of(context, task, point);
    nn::RewardModel expert = base.start_expert(
        context.lora_of(train), mix64(context.config().seed) ^ stable_hash(task.without_fold().text() + "/" + point));
    trainees.push_back({plan::TaskId::expert(task.category, {point}, task.round, task.fold).text(), std::move(expert),
                        std::move(labels.training), std::move(labels.validation)});
  }
  start_heads(context, trainees, ranks);
  const auto gpus = gpu_ranks(context, ranks);
  comm::Communicator& training_ranks = gpus ? *gpus : ranks;
  ranks.use_wire(wire_of(context.config()));
  const train::TrainerContext trainer = trainer_context(context, train, task, identity, training_ranks);
  const std::vector<train::TrainOutcome> outcomes = train::train_rewards(trainer, trainees);
  std::string failures;
  for (const train::TrainOutcome& outcome : outcomes)
    failures += outcome.failure.empty() ? "" : (failures.empty() ? "" : "; ") + outcome.failure;
  if (!failures.empty()) throw NumericError("training-failed", failures);
  if (ranks.rank() != 0) return;
  std::vector<std::string> files;
  nlohmann::json metrics = nlohmann::json::object();
  for (std::size_t i = 0; i < trainees.size(); ++i) {
    const std::string& point = task.points[i];
    trainees[i].model.save(context.directory().task(task) / point);
    files.push_back(point + "/adapter_config.json");
    files.push_back(point + "/adapter_model.safetensors");
    metrics[point] = metrics_of(outcomes[i], trainees[i]);
  }
  context.directory().complete(task, identity, files, metrics);
  train::remove_checkpoints(context.directory().task(task));
}

}  // namespace dmoerm::run
