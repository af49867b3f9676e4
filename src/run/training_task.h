// What the tasks of phases 1 and 2 share: how they call the trainer and what they keep of its outcome.
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

train::TrainerContext trainer_context(RunContext& context, const config::TrainConfig& train, const std::string& task,
                                      const TaskIdentity& identity, comm::Communicator& ranks);

/// The group with sums on its ranks' GPUs, over NCCL; nullptr where they go over the host.
std::unique_ptr<comm::Communicator> gpu_ranks(const RunContext& context, comm::Communicator& ranks);

/// {"key", "settings"} of the task that left checkpoints in a folder; null if there are none. For RunDirectory.
nlohmann::json begun_training(const std::filesystem::path& folder);

}  // namespace dmoerm::run
