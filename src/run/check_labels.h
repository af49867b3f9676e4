// Checks that the data can train, stop and evaluate every model of a configuration.
#pragma once
#include "config/run_config.h"
#include "data/token_store.h"

namespace dmoerm::run {

/// Every category needs groups to train on, and overall preferences in the groups of phase 1, of phase 3, and of the validation
/// and test splits. Each of its points needs experts.labels_min pairs in phase 1 and one in the validation split.
/// @throws ConfigError listing everything that is missing: labels that are absent (with the name that was probably meant), all of
/// one kind, or too few
void check_labels(const config::RunConfig& config, const data::TokenStore& store);

}  // namespace dmoerm::run
