// Settings of ranks, Slurm and watching a run. None of them changes a result, except cluster.wire.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dmoerm::config {

/// How the ranks of a run work together and what happens when one does not.
struct ClusterConfig {
  double limit_s = 60;           ///< a rank that is silent, or a collective that takes longer than this, ends the job
  std::int64_t retries = 1;      ///< a task that failed is tried again so often, from its last checkpoint
  bool regroup = true;           ///< idle ranks join a running task at its next evaluation
  std::string wire = "float32";  ///< gradients between ranks: float32, bfloat16 (half the bytes; bits then depend on the ranks)
  bool share_gpu = false;        ///< let several ranks of a node use one GPU
  double cost_per_device_hour = 0;  ///< for `dmoerm plan`, in `currency`
  std::string currency = "USD";
};

/// What `dmoerm launch --slurm` writes into the job script.
struct SlurmConfig {
  std::string partition, account, qos, constraint;  ///< empty: the cluster's default
  std::int64_t nodes = 1;
  std::int64_t ranks_per_node = 1;
  std::int64_t gpus_per_node = 0;
  std::int64_t cpus_per_rank = 0;  ///< 0 = compute.threads
  std::string memory;              ///< of a node, e.g. 64G
  std::string time = "1-00:00:00";
  std::string start = "srun";          ///< srun (--mpi=pmix), mpirun
  std::int64_t signal_before_s = 120;  ///< before the time limit or a preemption
  bool requeue = true;                 ///< go on in a new job after a preemption, a time limit or a lost node
  std::string container;               ///< Apptainer image to run in
  std::vector<std::string> setup;      ///< shell lines before the start, e.g. module load openmpi
  std::vector<std::string> options;    ///< further #SBATCH options, e.g. --mail-type=END
};

/// How a run shows what it does.
struct WatchConfig {
  std::string screen = "auto";        ///< auto = one screen if stderr is a terminal, else log lines; on, off
  double every_s = 1.0;               ///< seconds between two looks of screen and status.json
  bool tensorboard = true;            ///< event files beside metrics.jsonl
  std::int64_t port = -1;             ///< status page and Prometheus metrics of rank 0; -1 = none, 0 = any free port
  std::string address = "127.0.0.1";  ///< beyond this machine only with a token
  std::string token_env;              ///< environment variable with the token that readers must send
};

}  // namespace dmoerm::config
