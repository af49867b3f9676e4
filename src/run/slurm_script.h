// The job script of `dmoerm slurm`: launch/slurm/dmoerm.sbatch with the options and settings of a configuration.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::run {

/// What a script needs besides the configuration. All paths are absolute.
struct SlurmJob {
  std::string project;                 ///< Folder of the project, which has launch/dmoerm
  std::string working_directory;       ///< Folder to which paths in the configuration are relative
  std::string config_file;             ///< Argument of `dmoerm run --config`
  std::vector<std::string> overrides;  ///< Arguments of --set
  std::string log_file;                ///< Path of the log; %j becomes the job's number
};

/// Seconds of a time limit as Slurm writes it: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
/// days-hours:minutes, days-hours:minutes:seconds. @return nullopt if it is none of these; 0 = without limit
std::optional<long long> slurm_seconds(std::string_view time);
/// `text` quoted as one word of a POSIX shell.
std::string shell_quoted(std::string_view text);
/// Number of CPUs that one rank requests.
std::int64_t cpus_of_a_rank(const config::RunConfig& config);
/// Errors in the section `slurm`, one sentence each, which names the key, the value and what to do.
std::vector<std::string> slurm_problems(const config::RunConfig& config);
/// Settings that are allowed but probably not meant, one sentence each.
std::vector<std::string> slurm_hints(const config::RunConfig& config);
/// The script. @param original text of launch/slurm/dmoerm.sbatch
/// @throws ConfigError if a path cannot be written into an #SBATCH line
/// @throws DataError if `original` lacks the marked blocks that are replaced
std::string slurm_script(const config::RunConfig& config, const SlurmJob& job, std::string_view original);

}  // namespace dmoerm::run
