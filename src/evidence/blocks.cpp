#include "evidence/blocks.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "base/rng.h"

namespace dmoerm::evidence {

std::vector<std::int64_t> blocks_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups,
                                    std::int64_t block_lines) {
  std::map<std::uint64_t, std::pair<std::string_view, std::int64_t>> first_row;  // file and line of each conversation
  for (std::int64_t i = 0; !groups.empty() && i < store.size(); ++i) {
    if (store.group(i).category == store.group(groups.front()).category)
      first_row.try_emplace(store.group(i).session_key, store.source(i));
  }
  std::map<std::pair<std::string_view, std::int64_t>, std::int64_t> number;
  std::vector<std::int64_t> blocks;
  for (const std::int64_t index : groups) {
    const auto& [file, line] = first_row[store.group(index).session_key];
    const std::int64_t block = (line - 1) / std::max<std::int64_t>(1, block_lines);
    blocks.push_back(number.try_emplace({file, block}, std::ssize(number)).first->second);
  }
  return blocks;
}

std::vector<std::int64_t> deal(const std::vector<std::int64_t>& blocks, std::int64_t folds, std::uint64_t seed) {
  const auto place = [&](std::int64_t block) { return mix64(mix64(seed) ^ static_cast<std::uint64_t>(block)); };
  std::map<std::uint64_t, std::int64_t> fold_of;
  for (const std::int64_t block : blocks) fold_of[place(block)] = 0;
  for (std::int64_t next = 0; auto& [hash, fold] : fold_of) fold = next++ % folds;
  std::vector<std::int64_t> dealt;
  for (const std::int64_t block : blocks) dealt.push_back(fold_of[place(block)]);
  return dealt;
}

}  // namespace dmoerm::evidence
