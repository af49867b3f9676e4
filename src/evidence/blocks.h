// Blocks of lines of a data file, whose prompts may be of one document, and the folds that they are dealt to.
#pragma once
#include <cstdint>
#include <vector>

#include "data/token_store.h"

namespace dmoerm::evidence {

/// The number of each group's block, counted from 0 in the order of the groups. Turns of one conversation are in the block of its
/// first row, also those in other files. @param groups  of one category @param block_lines  lines of a block
std::vector<std::int64_t> blocks_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups,
                                    std::int64_t block_lines);
/// The fold of each group: blocks are dealt to folds of about equal numbers of them, in the order of a hash.
std::vector<std::int64_t> deal(const std::vector<std::int64_t>& blocks, std::int64_t folds, std::uint64_t seed);

}  // namespace dmoerm::evidence
