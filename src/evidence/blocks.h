// Blocks of prompts that may be of one document, and the folds that they are dealt to.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"

namespace dmoerm::evidence {

/// The number of each group's cluster: groups whose rows say the same under a key are in one, as are the rows of a prompt and the
/// turns of a conversation, whatever they say, also rows that are not in the store. The data files of the store are read again.
/// @param key  "": no cluster, for a block of lines stands for it
/// @throws DataError for a row without the key, or for files that have changed since the store was made
std::vector<std::int64_t> clusters_of(const data::TokenStore& store, const config::DataConfig& data, const std::string& key);

/// What is never divided among folds.
struct BlockRule {
  std::int64_t lines = 1;                   ///< Lines of a data file, where no clusters are known
  std::vector<std::int64_t> clusters = {};  ///< Of all groups of the store, as clusters_of() gives them
};

/// The number of each group's block, counted from 0 in the order of the groups: its cluster, or some lines of its data file.
/// Turns of one conversation are in the block of its first row, also those in other files. @param groups  of one category
std::vector<std::int64_t> blocks_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups,
                                    const BlockRule& rule);
/// What no model may learn from if another group with the same key is tested: its cluster, or its conversation.
std::uint64_t leak_key(const data::TokenStore& store, const BlockRule& rule, std::int64_t group);
/// What results call the block of a group: its cluster, of one number in all categories, or else its block.
std::int64_t cluster_number(const BlockRule& rule, std::int64_t group, std::int64_t block);
/// The fold of each group: blocks are dealt to folds of about equal numbers of them, in the order of a hash.
std::vector<std::int64_t> deal(const std::vector<std::int64_t>& blocks, std::int64_t folds, std::uint64_t seed);

}  // namespace dmoerm::evidence
