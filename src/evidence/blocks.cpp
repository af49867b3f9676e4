#include "evidence/blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/joined_sets.h"
#include "base/rng.h"
#include "preference/group_reader.h"
#include "preference/session_key.h"

namespace dmoerm::evidence {
namespace {

/// Calls `on_group` with each group of the data files.
template <class OnGroup>
void read_groups(const config::DataConfig& data, const std::string& key, const OnGroup& on_group) {
  for (const config::InputConfig& input : data.inputs) {
    preference::GroupReader reader(
        input.path, input.format, [](const preference::Dropped&) {}, data.bad_lines_max);
    reader.read_cluster(key);
    while (const std::optional<preference::Group> group = reader.next()) on_group(*group);
  }
}

}  // namespace

std::vector<std::int64_t> clusters_of(const data::TokenStore& store, const config::DataConfig& data, const std::string& key) {
  if (key.empty()) return {};
  std::map<std::pair<std::string_view, std::int64_t>, std::int64_t> not_read;
  std::map<std::uint64_t, std::int64_t> of_conversation;
  JoinedSets joined(store.size());
  for (std::int64_t i = 0; i < store.size(); ++i) {
    not_read[store.source(i)] = i;
    joined.join(of_conversation.try_emplace(store.group(i).session_key, i).first->second, i);
  }
  read_groups(data, key, [&](const preference::Group& group) {
    if (const auto stored = not_read.find({group.file, group.line}); stored != not_read.end()) {
      preference::expect_cluster(group, key);
      joined.join_by_name(stored->second, group.clusters);
      not_read.erase(stored);
    } else if (const auto turn = of_conversation.find(preference::session_key(group.prompt)); turn != of_conversation.end()) {
      joined.join_by_name(turn->second, group.clusters);  // ingest left it out, perhaps as the same prompt in another document
    }
  });
  if (!not_read.empty())
    throw DataError("input-changed-while-read",
                    fmt::format("{}:{}: the prompt of this row is in the token store, and not among those that are read now: the "
                                "file has changed since; run the same command again",
                                not_read.begin()->first.first, not_read.begin()->first.second));
  std::vector<std::int64_t> clusters;
  for (std::int64_t i = 0; i < store.size(); ++i) clusters.push_back(joined.set_of(i));
  return clusters;
}

std::uint64_t leak_key(const data::TokenStore& store, const BlockRule& rule, std::int64_t group) {
  return rule.clusters.empty() ? store.group(group).session_key
                               : static_cast<std::uint64_t>(rule.clusters[static_cast<std::size_t>(group)]);
}

std::vector<std::int64_t> blocks_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups,
                                    const BlockRule& rule) {
  std::vector<std::int64_t> blocks;
  if (!rule.clusters.empty()) {
    std::map<std::int64_t, std::int64_t> number;
    for (const std::int64_t index : groups)
      blocks.push_back(number.try_emplace(rule.clusters[static_cast<std::size_t>(index)], std::ssize(number)).first->second);
    return blocks;
  }
  std::map<std::uint64_t, std::pair<std::string_view, std::int64_t>> first_row;  // file and line of each conversation
  for (std::int64_t i = 0; !groups.empty() && i < store.size(); ++i) {
    if (store.group(i).category == store.group(groups.front()).category)
      first_row.try_emplace(store.group(i).session_key, store.source(i));
  }
  std::map<std::pair<std::string_view, std::int64_t>, std::int64_t> number;
  for (const std::int64_t index : groups) {
    const auto& [file, line] = first_row[store.group(index).session_key];
    const std::int64_t block = (line - 1) / std::max<std::int64_t>(1, rule.lines);
    blocks.push_back(number.try_emplace({file, block}, std::ssize(number)).first->second);
  }
  return blocks;
}

std::int64_t cluster_number(const BlockRule& rule, std::int64_t group, std::int64_t block) {
  return rule.clusters.empty() ? block : rule.clusters[static_cast<std::size_t>(group)];
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
