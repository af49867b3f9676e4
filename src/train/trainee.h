// What a training is given and what it gives back.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "config/run_config.h"
#include "nn/reward_model.h"
#include "train/label_set.h"
#include "train/task_line.h"
#include "train/trunk_cache.h"

namespace dmoerm::train {

/// A model to train.
struct Trainee {
  std::string name;  ///< names its random streams and its lines in the log, e.g. expert/chat/logic
  nn::RewardModel model;
  std::vector<LabelledGroup> training, validation;
};

/// How a training ended. The trainee holds the best weights.
struct TrainOutcome {
  double accuracy = 0.5, loss = 0;  ///< on the validation groups, of the weights kept
  std::int64_t best_step = 0, steps = 0;
  std::int64_t tokens = 0;  ///< computed forward and backward by all ranks
  double seconds = 0;       ///< spent training, over restarts
  double peak_mib = 0;      ///< largest resident memory of a rank of the group so far
  double state_mib = 0;     ///< of this rank: weights, moments, best weights, gradients and their sums at their peak
  comm::Traffic traffic;    ///< of this rank, since the last restart
  std::string failure;      ///< not empty: it broke off (NaN), with the group and expert named
};

struct TrainerContext {
  const data::TokenStore& store;
  const config::TrainConfig& train;
  const config::ComputeConfig& compute;
  std::uint64_t seed;
  comm::Communicator& group;
  std::filesystem::path directory;  ///< for checkpoints and metrics.jsonl
  std::string key;                  ///< of the task: a checkpoint of another key is not resumed
  TrunkCache& trunks;
  TaskLine line = {};
  nlohmann::json settings = {};  ///< of the task, kept in its checkpoints to tell what differs
  bool tensorboard = false;      ///< write event files beside metrics.jsonl, in a folder a trainee if there are several
};

}  // namespace dmoerm::train
