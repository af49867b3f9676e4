#include "label/targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "config/nearest.h"

namespace dmoerm::label {

std::vector<Target> targets_of(const config::RunConfig& config, const std::vector<std::string>& only) {
  std::vector<Target> targets;
  std::vector<std::string> names;
  std::set<std::string> unused(only.begin(), only.end());
  for (const config::CategoryConfig& c : config.categories) {
    names.push_back(c.name);
    for (const std::string& point : c.points) {
      names.push_back(c.name + "/" + point);
      const bool wanted =
          only.empty() || std::ranges::find(only, names.back()) != only.end() || std::ranges::find(only, c.name) != only.end();
      unused.erase(names.back());
      if (wanted) targets.push_back({c.name, point, c.score_gap_min.of(point), c.score_gap_min.of(preference::kOverall)});
    }
    unused.erase(c.name);
  }
  if (!unused.empty()) {
    const auto near = config::nearest(*unused.begin(), names);
    throw ConfigError("point-not-configured",
                      fmt::format("\"{}\" is not a category or category/point of the configuration{}", *unused.begin(),
                                  near && !near->empty() ? fmt::format("; did you mean {}?", *near) : ""));
  }
  return targets;
}

namespace {

/// Groups of a target that may be asked about, with their numbers in the file.
struct Candidates {
  std::vector<std::size_t> numbers;
  std::vector<GroupSize> sizes;

  void add(std::size_t number, const GroupFile& file) {
    numbers.push_back(number);
    sizes.push_back({file.entries()[number].id, file.entries()[number].responses});
  }
  /// The gaps of each group.
  [[nodiscard]] std::vector<GapTable> tables(const Gaps& gaps) const {
    std::vector<GapTable> tables;
    for (const std::size_t number : numbers) tables.push_back(gaps.contains(number) ? gaps.at(number) : GapTable{});
    return tables;
  }
  [[nodiscard]] std::vector<std::vector<ResponsePair>> drawn(std::uint64_t seed, int per_group) const {
    std::vector<std::vector<ResponsePair>> pairs;
    for (const GroupSize& size : sizes) pairs.push_back(draw_pairs(seed, size, per_group));
    return pairs;
  }
  /// Append chosen pairs, those of one group together where they follow each other.
  void append(std::vector<GroupPairs>& result, const std::vector<ChosenPair>& chosen) const {
    for (const ChosenPair& pair : chosen) {
      if (result.empty() || result.back().group != numbers[pair.group]) result.push_back({numbers[pair.group], {}});
      result.back().pairs.emplace_back(pair.pair.a, pair.pair.b);
    }
  }
  /// Those of some pairs that are pairs of these groups.
  [[nodiscard]] std::vector<ChosenPair> of(const std::vector<GroupPairs>& pairs) const {
    std::map<std::size_t, std::size_t> places;
    for (std::size_t i = 0; i < numbers.size(); ++i) places[numbers[i]] = i;
    std::vector<ChosenPair> own;
    for (const GroupPairs& group : pairs) {
      const auto found = places.find(group.group);
      if (found == places.end()) continue;
      for (const auto& [a, b] : group.pairs) own.push_back({found->second, {a, b}});
    }
    return own;
  }
};

std::vector<std::size_t> groups_to_ask(const config::RunConfig& config, const GroupFile& file, const Target& target,
                                       const std::vector<bool>& read) {
  std::vector<std::size_t> groups = file.of(target.category, config.labels.splits);
  if (!read.empty()) std::erase_if(groups, [&](std::size_t group) { return !read[group]; });
  return groups;
}

std::size_t count_of(const std::vector<std::vector<ResponsePair>>& pairs) {
  std::size_t count = 0;
  for (const auto& own : pairs) count += own.size();
  return count;
}

/// The part of a whole that is asked about up to a round, rounded up.
std::size_t share_of(std::size_t whole, Round round) {
  const auto number = static_cast<std::size_t>(round.number), of = static_cast<std::size_t>(round.of);
  return (whole * number + of - 1) / of;
}

}  // namespace

std::vector<GroupPairs> choose_pairs(const config::RunConfig& config, const GroupFile& file, const Target& target,
                                     const Gaps& gaps, const std::vector<bool>& read) {
  const config::PairChoiceConfig& choice = config.labels.pairs;
  Candidates groups;
  for (const std::size_t group : groups_to_ask(config, file, target, read)) groups.add(group, file);
  const auto per_group = static_cast<int>(choice.per_group);
  const std::size_t pairs_max = choice.pairs_max > 0 ? static_cast<std::size_t>(choice.pairs_max) : SIZE_MAX;
  std::vector<ChosenPair> chosen;
  if (choice.choose == config::PairChoice::uncertain) {
    chosen = add_uncertain_pairs(config.seed, groups.sizes, groups.tables(gaps), {}, per_group, pairs_max);
  } else {
    std::vector<std::vector<ResponsePair>> pairs;
    if (choice.choose == config::PairChoice::all) {
      for (const GroupSize& size : groups.sizes) pairs.push_back(all_pairs(size.responses));
    } else {
      pairs = groups.drawn(config.seed, per_group);
    }
    if (pairs_max < SIZE_MAX) {
      chosen = spread_budget(config.seed, groups.sizes, pairs, pairs_max);
    } else {
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        for (const ResponsePair& pair : pairs[i]) chosen.push_back({i, pair});
      }
    }
  }
  std::vector<GroupPairs> result;
  groups.append(result, chosen);
  return result;
}

std::vector<GroupPairs> choose_pairs_of_round(const config::RunConfig& config, const GroupFile& file, const Target& target,
                                              Round round, const std::vector<GroupPairs>& before, const Gaps& gaps,
                                              const std::vector<bool>& read) {
  const config::PairChoiceConfig& choice = config.labels.pairs;
  Candidates train, others;
  for (const std::size_t group : groups_to_ask(config, file, target, read))
    (file.entries()[group].split == preference::Split::train ? train : others).add(group, file);
  const auto per_group = static_cast<int>(choice.per_group);
  const auto train_drawn = train.drawn(config.seed, per_group), others_drawn = others.drawn(config.seed, per_group);
  const std::size_t all_train = count_of(train_drawn), all_others = count_of(others_drawn), all = all_train + all_others;
  std::size_t for_train = all_train, for_others = all_others;
  if (const auto pairs_max = static_cast<std::size_t>(choice.pairs_max); pairs_max > 0 && pairs_max < all) {
    for_others = (pairs_max * all_others + all / 2) / all;
    if (all_others > 0 && for_others == 0 && pairs_max > 1) for_others = 1;  // without any, nothing decides when to stop
    for_train = std::min(all_train, pairs_max - for_others);
  }
  std::vector<GroupPairs> result;
  if (before.empty() && gaps.empty()) {
    train.append(result, spread_budget(config.seed, train.sizes, train_drawn, share_of(for_train, round)));
  } else {
    train.append(result, add_uncertain_pairs(config.seed, train.sizes, train.tables(gaps), train.of(before), per_group,
                                             share_of(for_train, round)));
  }
  others.append(result, spread_budget(config.seed, others.sizes, others_drawn, share_of(for_others, round)));
  return result;
}

}  // namespace dmoerm::label
