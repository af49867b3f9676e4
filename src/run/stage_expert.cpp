#include "run/stage_expert.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "plan/graph_builder.h"
#include "run/task_settings.h"
#include "run/training_task.h"
#include "train/checkpoint.h"

namespace dmoerm::run {
namespace {

struct PointLabels {
  std::vector<train::LabelledGroup> training, validation;
};

/// The fewest pairs that an expert trains on. Before the last round it is the share of labels.rounds that has been labelled.
std::int64_t labels_min(const config::RunConfig& config, std::int32_t round) {
  const int rounds = plan::label_rounds(config);
  return round == 0 ? config.experts.labels_min : (config.experts.labels_min * round + rounds - 1) / rounds;
}

/// A point's labels: from the judges if the configuration names any, else from the data.
PointLabels labels_of(const RunContext& context, std::int32_t category, const std::string& point, std::int32_t round) {
  const config::RunConfig& config = context.config();
  const data::TokenStore& store = context.store();
  if (config.labels.judges.empty()) {
    return {train::labelled_groups(store, category, train::Subset::phase1, point, config),
            train::labelled_groups(store, category, train::Subset::validation, point, config)};
  }
  const plan::TaskId task = plan::TaskId::label(context.category(category).name, point, round);
  const auto verdicts = label::read_judged_groups(context.directory().task(task) / "verdicts.jsonl");
  PointLabels labels{train::judged_groups(store, category, train::Subset::phase1, verdicts, config.labels.soft, config),
                     train::judged_groups(store, category, train::Subset::validation, verdicts, config.labels.soft, config)};
  if (labels.validation.empty()) {
    spdlog::warn("[{}] the judges gave no verdict on the validation split: the data's own labels of it decide when to stop",
                 task.text());
    labels.validation = train::labelled_groups(store, category, train::Subset::validation, point, config);
  }
  const std::int64_t pairs = train::count_pairs(labels.training);
  if (const std::int64_t least = labels_min(config, round); pairs < least) {
    throw DataError("too-few-labels",
                    fmt::format("{}: {} pairs of phase 1 have the same verdict in both orders, at least {} are needed "
                                "(experts.labels_min); label/report.md shows what the judges answered",
                                task.text(), pairs, least));
  }
  if (labels.validation.empty())
    throw DataError(
        "no-validation-labels",
        fmt::format("{}: no verdict on the validation split, which decides when to stop: add it to labels.splits", task.text()));
  return labels;
}

}  // namespace

nlohmann::json expert_settings(const config::RunConfig& config, const config::CategoryConfig& category) {
  nlohmann::json settings{{"train", result_settings(config.experts.train)},
                          {"phase1_share", config.phase1_share},
                          {"category", result_settings(category)}};
  if (!config.labels.judges.empty()) settings["labels"] = result_settings(config.labels);
  return settings;
}

void run_experts(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  const std::int32_t category = context.category_index(task);
  const nn::RewardModel base = context.load_model(plan::TaskId::base(task.category));
  const config::TrainConfig& train = context.config().experts.train;
  std::vector<train::Trainee> trainees;
  for (const std::string& point : task.points) {
    PointLabels labels = labels_of(context, category, point, task.round);
    nn::RewardModel expert =
        base.start_expert(context.lora_of(train), mix64(context.config().seed) ^ stable_hash(task.text() + "/" + point));
    trainees.push_back({plan::TaskId::expert(task.category, {point}, task.round).text(), std::move(expert),
                        std::move(labels.training), std::move(labels.validation)});
  }
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
