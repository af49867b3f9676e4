// Phases 1 and 2, and the baselines, which are phase 1 on other groups.
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "comm/nccl_communicator.h"
#include "run/tasks.h"
#include "train/checkpoint.h"
#include "train/reward_trainer.h"

namespace dmoerm::run {
namespace {

nlohmann::json metrics_of(const train::TrainOutcome& outcome, const train::Trainee& trainee) {
  return {{"validation_accuracy", outcome.accuracy},
          {"validation_loss", outcome.loss},
          {"best_step", outcome.best_step},
          {"steps", outcome.steps},
          {"tokens", outcome.tokens},
          {"seconds", outcome.seconds},
          {"peak_mib", outcome.peak_mib},
          {"state_mib", outcome.state_mib},
          {"comm_seconds", outcome.traffic.seconds},
          {"comm_bytes", outcome.traffic.bytes},
          {"groups", trainee.training.size()},
          {"pairs", train::count_pairs(trainee.training)},
          {"validation_groups", trainee.validation.size()},
          {"validation_pairs", train::count_pairs(trainee.validation)}};
}

comm::Wire wire_of(const config::RunConfig& config) {
  return config.cluster.gradient_dtype == config::Dtype::bfloat16 ? comm::Wire::bfloat16 : comm::Wire::float32;
}

train::TrainerContext trainer_context(RunContext& context, const config::TrainConfig& train, const std::string& task,
                                      const TaskIdentity& identity, comm::Communicator& group) {
  return {context.store(),
          train,
          context.config().compute,
          context.config().seed,
          group,
          context.directory().task(task),
          identity.key(),
          context.trunks(),
          context.line(),
          identity.settings,
          context.config().watch.tensorboard};
}

/// The group with sums on its ranks' GPUs, over NCCL; nullptr where they go over the host.
std::unique_ptr<comm::Communicator> gpu_group(const RunContext& context, comm::Communicator& group) {
  if (group.size() == 1) return nullptr;
  return comm::make_nccl_communicator(group, context.device().is_cuda() ? context.device().index() : -1);
}

struct PointLabels {
  std::vector<train::LabelledGroup> training, validation;
};

/// A point's labels, from the judges where the configuration names any, else from the data.
PointLabels labels_of(const RunContext& context, std::int32_t category, const std::string& point) {
  const config::RunConfig& config = context.config();
  const data::TokenStore& store = context.store();
  if (config.labels.judges.empty()) {
    return {train::labelled_groups(store, category, train::Part::base, point, config),
            train::labelled_groups(store, category, train::Part::validation, point, config)};
  }
  const std::string task = "label/" + context.category(category).name + "/" + point;
  const auto verdicts = label::read_judged_groups(context.directory().task(task) / "verdicts.jsonl");
  PointLabels labels{train::judged_groups(store, category, train::Part::base, verdicts, config.labels.soft, config),
                     train::judged_groups(store, category, train::Part::validation, verdicts, config.labels.soft, config)};
  if (labels.validation.empty())
    labels.validation = train::labelled_groups(store, category, train::Part::validation, point, config);
  const std::int64_t pairs = train::count_pairs(labels.training);
  if (pairs < config.experts.labels_min) {
    throw DataError(
        fmt::format("{}: {} pairs of phase 1 have a verdict that the judges gave in both orders, at least {} are needed "
                    "(experts.labels_min); see "
                    "label/report.md for what they answered",
                    task, pairs, config.experts.labels_min));
  }
  if (labels.validation.empty())
    throw DataError(
        fmt::format("{}: no verdict on the validation split, which decides when to stop: add it to labels.splits", task));
  return labels;
}

}  // namespace

void run_base(RunContext& context, const std::string& task, std::int32_t category, train::Part part, std::int64_t steps_max,
              const TaskIdentity& identity, comm::Communicator& group) {
  const nn::RewardModel fresh = context.fresh_model(task);
  std::vector<train::Trainee> trainees(1);
  trainees[0] = {
      task, fresh, train::labelled_groups(context.store(), category, part, preference::kOverall, context.config()),
      train::labelled_groups(context.store(), category, train::Part::validation, preference::kOverall, context.config())};
  config::TrainConfig train = context.config().base;
  if (steps_max > 0) train.steps_max = steps_max;
  const auto gpus = gpu_group(context, group);
  comm::Communicator& ranks = gpus ? *gpus : group;
  ranks.use_wire(wire_of(context.config()));
  const train::TrainerContext trainer = trainer_context(context, train, task, identity, ranks);
  const train::TrainOutcome outcome = train::train_rewards(trainer, trainees).front();
  if (!outcome.failure.empty()) throw NumericError(outcome.failure);
  nlohmann::json metrics = metrics_of(outcome, trainees[0]);
  if (category < 0) {  // the fallback, whose scores may be wanted normalised
    const train::GroupRewards scored = context.scorer(group).rewards(fresh, trainees[0].validation);
    metrics["score"] = score_statistics(at::tensor(at::ArrayRef<float>(scored.rewards)));
  }
  if (group.rank() != 0) return;
  const auto files = fresh.save(context.directory().task(task));
  context.directory().complete(task, identity, files, metrics);
  train::remove_checkpoints(context.directory().task(task));
}

void run_experts(RunContext& context, const std::string& task, std::int32_t category, std::size_t first_point, std::size_t points,
                 const TaskIdentity& identity, comm::Communicator& group) {
  const config::CategoryConfig& c = context.category(category);
  const nn::RewardModel base = context.load_model("base/" + c.name);
  const config::TrainConfig& train = context.config().experts.train;
  std::vector<train::Trainee> trainees;
  for (std::size_t p = first_point; p < first_point + points; ++p) {
    PointLabels labels = labels_of(context, category, c.points[p]);
    nn::RewardModel expert =
        base.start_expert(context.lora_of(train), mix64(context.config().seed) ^ stable_hash(task + "/" + c.points[p]));
    trainees.push_back(
        {"expert/" + c.name + "/" + c.points[p], std::move(expert), std::move(labels.training), std::move(labels.validation)});
  }
  const auto gpus = gpu_group(context, group);
  comm::Communicator& ranks = gpus ? *gpus : group;
  ranks.use_wire(wire_of(context.config()));
  const train::TrainerContext trainer = trainer_context(context, train, task, identity, ranks);
  const std::vector<train::TrainOutcome> outcomes = train::train_rewards(trainer, trainees);
  std::string failures;
  for (const train::TrainOutcome& outcome : outcomes)
    failures += outcome.failure.empty() ? "" : (failures.empty() ? "" : "; ") + outcome.failure;
  if (!failures.empty()) throw NumericError(failures);
  if (group.rank() != 0) return;
  std::vector<std::string> files;
  nlohmann::json metrics = nlohmann::json::object();
  for (std::size_t i = 0; i < trainees.size(); ++i) {
    const std::string& point = c.points[first_point + i];
    trainees[i].model.save(context.directory().task(task) / point);
    files.push_back(point + "/adapter_config.json");
    files.push_back(point + "/adapter_model.safetensors");
    metrics[point] = metrics_of(outcomes[i], trainees[i]);
  }
  context.directory().complete(task, identity, files, metrics);
  train::remove_checkpoints(context.directory().task(task));
}

}  // namespace dmoerm::run
