// The stage "ingest": the inputs as a token store. The first rank does it before the ranks' tasks can be sized.
#pragma once
#include <filesystem>

#include "config/run_config.h"
#include "run/run_directory.h"

namespace dmoerm::run {

/// Tokenise the inputs, unless that is done. @param update  do it again if settings or inputs changed, instead of refusing
/// @return the stage's identity
/// @throws ConfigError naming what changed; as data::ingest()
TaskIdentity run_ingest(const config::RunConfig& config, const RunDirectory& directory, bool update);

/// The token store of a run directory.
std::filesystem::path token_store_path(const RunDirectory& directory);

}  // namespace dmoerm::run
