// Settings of ranks, Slurm and watching a run, with their types and defaults.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/words.h"

namespace dmoerm::config {

/// How the ranks of a run work together and what happens when one does not.
struct ClusterConfig {
  double timeout_s = 60;
  std::int64_t retries = 1;
  bool regroup = true;
  Dtype gradient_dtype = Dtype::float32;
  bool share_gpu = false;
  double memory_gib = 0;
  double checkpoint_mib_s = 0;
  double cost_per_device_hour = 0;
  std::string currency = "USD";
};

/// What `dmoerm slurm` writes into the job script.
struct SlurmConfig {
  std::string partition;
  std::string account;
  std::string qos;
  std::string constraint;
  std::int64_t nodes = 1;
  std::int64_t ranks_per_node = 1;
  std::int64_t gpus_per_node = 0;
  std::int64_t cpus_per_rank = 0;
  std::string memory;
  std::string time = "1-00:00:00";
  Starter start = Starter::srun;
  std::int64_t signal_before_s = 120;
  bool requeue = true;
  std::string container;
  std::vector<std::string> setup;
  std::vector<std::string> options;
};

/// How a run shows what it does.
struct WatchConfig {
  ScreenMode screen = ScreenMode::automatic;
  double every_s = 1.0;
  bool tensorboard = true;
  std::int64_t port = -1;
  std::string address = "127.0.0.1";
  std::string token_env;
};

}  // namespace dmoerm::config
