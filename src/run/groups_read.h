// Which groups' verdicts training reads, so that no verdict is paid for that nothing reads.
#pragma once
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"
#include "label/group_file.h"

namespace dmoerm::run {

/// For each group of the file, whether experts read verdicts on it: the groups of phase 1, and of each category's validation
/// split at most experts.train.eval_groups_max, drawn by the seed.
/// @param store  the run's token store; nullptr: the prompts are tokenised here, by the same rule. If the backbone's tokenizer is
/// not there either, all groups of the train split count, with a warning
/// @throws IoError, DataError
std::vector<bool> groups_read(const config::RunConfig& config, label::GroupFile& groups, const data::TokenStore* store);

}  // namespace dmoerm::run
