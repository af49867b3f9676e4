// Checks that the data can train, stop and evaluate every model of a configuration.
#pragma once
#include "config/run_config.h"
#include "data/token_store.h"

namespace dmoerm::run {

/// Every category needs groups to train on; overall preferences in the parts of phase 1 and 3, in the validation and in the test
/// split; and for each of its points experts.labels_min pairs in the part of phase 1 and one in the validation split.
/// @throws ConfigError listing everything that is missing: labels that are absent (with the name that was probably meant), of one
/// kind only, or too few
void check_labels(const config::RunConfig& config, const data::TokenStore& store);

}  // namespace dmoerm::run
