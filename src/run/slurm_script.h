// The job script of `dmoerm slurm`: launch/slurm/dmoerm.sbatch with the options and settings of a configuration.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::run {

/// What a script needs beside the configuration. All paths are absolute.
struct SlurmJob {
  std::string project;                 ///< the project's folder, which has launch/dmoerm
  std::string working_directory;       ///< what relative paths of the configuration are relative to
  std::string config_file;             ///< as given to `dmoerm run --config`
  std::vector<std::string> overrides;  ///< its --set arguments
  std::string log_file;                ///< %j becomes the job's number
};

/// Seconds of a time limit as Slurm writes it: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
/// days-hours:minutes, days-hours:minutes:seconds. @return nullopt if it is none of these; 0 = without limit
std::optional<long long> slurm_seconds(std::string_view time);
/// `text` as one word of a POSIX shell, whatever is in it.
std::string shell_quoted(std::string_view text);
/// CPUs that one rank asks for.
std::int64_t cpus_of_a_rank(const config::RunConfig& config);
/// What is wrong with section `slurm`, one sentence an entry that names the key, the value and what to do; empty if nothing is.
std::vector<std::string> slurm_problems(const config::RunConfig& config);
/// What is allowed and probably not meant, one sentence an entry.
std::vector<std::string> slurm_hints(const config::RunConfig& config);
/// The script. @param original text of launch/slurm/dmoerm.sbatch
/// @throws ConfigError if a path cannot be written into an #SBATCH line
/// @throws DataError if `original` has not the marked blocks that are replaced
std::string slurm_script(const config::RunConfig& config, const SlurmJob& job, std::string_view original);

}  // namespace dmoerm::run
