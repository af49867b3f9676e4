// What the tasks of phases 1 and 2 share: calling the trainer and storing its outcome.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"
#include "train/reward_trainer.h"

namespace dmoerm::run {

/// Metrics of a trained model, for its task's manifest.
nlohmann::json metrics_of(const train::TrainOutcome& outcome, const train::Trainee& trainee);

comm::Wire wire_of(const config::RunConfig& config);

train::TrainerContext trainer_context(RunContext& context, const config::TrainConfig& train, const plan::TaskId& task,
                                      const TaskIdentity& identity, comm::Communicator& ranks);

/// A communicator of the same ranks that adds on their GPUs over NCCL; nullptr if they add over the host.
std::unique_ptr<comm::Communicator> gpu_ranks(const RunContext& context, comm::Communicator& ranks);

/// {"key", "settings"} of the task whose checkpoints are in a folder, for RunDirectory; null if there are none.
nlohmann::json begun_training(const std::filesystem::path& folder);

}  // namespace dmoerm::run
