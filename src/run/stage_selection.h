// The stage "label/groups": writes the texts of the groups that are selected for labelling.
#pragma once
#include <filesystem>

#include "config/run_config.h"
#include "run/run_directory.h"

namespace dmoerm::run {

/// Identity of the selection. Reads the inputs to compute their checksums. @throws IoError
TaskIdentity selection_identity(const config::RunConfig& config);

/// Write the texts of the selected groups, unless that is done. @return the file
std::filesystem::path run_selection(const config::RunConfig& config, const RunDirectory& directory, const TaskIdentity& identity);

/// Warn of the rows that a selection has left out, and of what was noted in the others, as ingest reports them.
void tell_selection(const RunDirectory& directory);

}  // namespace dmoerm::run
