#include "run/training_task.h"

#include "comm/nccl_communicator.h"
#include "train/checkpoint.h"
#include "train/device_ops.h"

namespace dmoerm::run {

nlohmann::json metrics_of(const train::TrainOutcome& outcome, const train::Trainee& trainee) {
  return {{"validation_accuracy", outcome.accuracy},
          {"validation_loss", outcome.loss},
          {"best_step", outcome.best_step},
          {"steps", outcome.steps},
          {"steps_max", outcome.steps_max},
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

train::TrainerContext trainer_context(RunContext& context, const config::TrainConfig& train, const plan::TaskId& task,
                                      const TaskIdentity& identity, comm::Communicator& ranks) {
  return {context.store(),
          train,
          context.config().compute,
          context.config().seed,
          ranks,
          context.directory().task(task),
          identity.key(),
          context.trunks(),
          context.progress(),
          identity.settings,
          context.config().watch.tensorboard};
}

std::unique_ptr<comm::Communicator> gpu_ranks(const RunContext& context, comm::Communicator& ranks) {
  if (ranks.size() == 1) return nullptr;
  const at::Device device = context.device();
  return comm::make_nccl_communicator(ranks, device.is_cuda() ? device.index() : -1, train::device_ops(device));
}

nlohmann::json begun_training(const std::filesystem::path& folder) {
  for (const train::CheckpointInfo& checkpoint : train::list_checkpoints(folder)) {
    if (!checkpoint.manifest.is_null()) return checkpoint.manifest;  // the newest that can be read
  }
  return {};
}

}  // namespace dmoerm::run
