// Inputs and results of training.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "config/run_config.h"
#include "nn/reward_model.h"
#include "train/task_progress.h"
#include "train/training_set.h"
#include "train/trunk_cache.h"

namespace dmoerm::train {

/// A model to train.
struct Trainee {
  std::string name;  ///< Name of its random streams and its lines in the log, e.g. expert/chat/logic
  nn::RewardModel model;
  std::vector<LabelledGroup> training, validation;
};

/// How a training ended. The trainee holds the best weights.
struct TrainOutcome {
  double accuracy = 0.5, loss = 0;  ///< Figures of the best weights on the validation groups
  std::int64_t best_step = 0, steps = 0;
  std::int64_t steps_max = 0;  ///< Steps that it would have taken without stopping early
  std::int64_t tokens = 0;     ///< Tokens of all ranks' forward and backward passes
  double seconds = 0;          ///< Seconds of training, restarts included
  double peak_mib = 0;         ///< Largest memory of a rank so far: of its GPU, or the resident memory of the host
  double state_mib = 0;        ///< This rank's weights, moments, best weights, gradients and their sums at their peak
  comm::Traffic traffic;       ///< This rank's traffic since the last restart
  std::string failure;         ///< Why it failed (NaN), naming trainee and group; "" if it did not
};

struct TrainerContext {
  const data::TokenStore& store;
  const config::TrainConfig& train;
  const config::ComputeConfig& compute;
  std::uint64_t seed;
  comm::Communicator& ranks;
  std::filesystem::path directory;  ///< Folder of checkpoints and metrics.jsonl
  std::string key;                  ///< Key of the task: training resumes only from checkpoints with this key
  TrunkCache& trunks;
  TaskProgress progress = {};
  nlohmann::json settings = {};  ///< Settings of the task, which checkpoints keep to report which of them differ
  bool tensorboard = false;      ///< Whether to write event files too; several trainees get a folder each
};

}  // namespace dmoerm::train
