// The stage "label/groups": the selected groups with their texts, for labelling.
#pragma once
#include <filesystem>

#include "config/run_config.h"
#include "run/run_directory.h"

namespace dmoerm::run {

/// What decides which groups are selected. Reads the inputs' checksums. @throws IoError
TaskIdentity selection_identity(const config::RunConfig& config);

/// Write the selected groups' texts, unless that is done. @return the file
std::filesystem::path run_selection(const config::RunConfig& config, const RunDirectory& directory, const TaskIdentity& identity);

}  // namespace dmoerm::run
