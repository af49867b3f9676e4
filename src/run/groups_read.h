// Which groups' verdicts training reads, so that no verdict is paid for that nothing reads.
#pragma once
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"
#include "label/group_file.h"

namespace dmoerm::run {

/// For each group of the file, whether experts read verdicts on it: the groups of phase 1 (with folds
/// the whole train split), and of each category's validation
/// split at most experts.train.eval_groups_max, drawn by the seed.
/// @param store  the run's token store; nullptr: the texts of the prompts decide by the same rule
/// @throws IoError, DataError
std::vector<bool> groups_read(const config::RunConfig& config, label::GroupFile& groups, const data::TokenStore* store);

}  // namespace dmoerm::run
