// The curves of a run as Weights & Biases keeps runs that have no network, for `wandb sync`.
#pragma once
#include <filesystem>

#include "report/run_facts.h"

namespace dmoerm::report {

/// Write one offline run for each training: `folder`/offline-run-TIME-ID/run-ID.wandb. ID depends only on the run's directory and
/// the training, so that written again it replaces itself.
/// @return number of runs written
/// @throws IoError
std::size_t write_wandb(const Run& run, const std::filesystem::path& folder);

}  // namespace dmoerm::report
