// The stage "ingest": makes a token store of the inputs. The first rank does it before the graph of tasks can be made.
#pragma once
#include <filesystem>

#include "config/run_config.h"
#include "run/run_directory.h"

namespace dmoerm::run {

/// Tokenise the inputs, unless that is done.
/// @param update  whether to do it again if settings or inputs changed, instead of refusing the run directory
/// @return the stage's identity
/// @throws ConfigError naming what changed; errors of data::ingest()
TaskIdentity run_ingest(const config::RunConfig& config, const RunDirectory& directory, bool update);

/// The token store of a run directory.
std::filesystem::path token_store_path(const RunDirectory& directory);

}  // namespace dmoerm::run
