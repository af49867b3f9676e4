// Checks that the data can train, stop and evaluate every model of a configuration.
#pragma once
#include <cstdint>

#include "config/run_config.h"
#include "data/token_store.h"

namespace dmoerm::run {

/// Every category needs groups to train on, and overall preferences in the groups of phase 1, of phase 3, and of the validation
/// and test splits. Each of its points needs experts.labels_min pairs in phase 1 and one in the validation split. With folds
/// each of them needs a prompt with an overall preference, and labels_min_of_fold() pairs of each point outside of it.
/// @throws ConfigError listing everything that is missing: labels that are absent (with the name that was probably meant), all of
/// one kind, or too few
void check_labels(const config::RunConfig& config, const data::TokenStore& store);

/// Warns of each category whose models few prompts of the validation split choose. The data passed check_labels().
void warn_of_few_validation_prompts(const config::RunConfig& config, const data::TokenStore& store);

/// The fewest pairs of a point that a model of a fold trains on: half of what others need, since its labels are fewer by chance.
std::int64_t labels_min_of_fold(std::int64_t labels_min);

}  // namespace dmoerm::run
