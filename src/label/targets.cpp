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

std::vector<GroupPairs> choose_pairs(const config::RunConfig& config, const GroupFile& file, const Target& target,
                                     const Gaps& gaps, const std::vector<bool>& read) {
  const config::PairChoiceConfig& choice = config.labels.pairs;
  std::vector<std::size_t> groups = file.of(target.category, config.labels.splits);
  if (!read.empty()) std::erase_if(groups, [&](std::size_t group) { return !read[group]; });
  std::vector<GroupSize> sizes;
  for (const std::size_t group : groups) sizes.push_back({file.entries()[group].id, file.entries()[group].responses});
  const auto per_group = static_cast<int>(choice.per_group);
  std::vector<std::vector<ResponsePair>> pairs;
  for (const GroupSize& size : sizes) {
    pairs.push_back(choice.choose == config::PairChoice::all ? all_pairs(size.responses)
                                                             : draw_pairs(config.seed, size, per_group));
  }
  std::vector<ChosenPair> chosen;
  const auto pairs_max = static_cast<std::size_t>(choice.pairs_max);
  if (choice.choose == config::PairChoice::uncertain) {
    std::vector<GapTable> tables;
    for (const std::size_t group : groups) tables.push_back(gaps.contains(group) ? gaps.at(group) : GapTable{});
    std::vector<int> taken(groups.size(), 0);
    for (const ChosenPair& pair : uncertain_pairs(config.seed, sizes, tables, SIZE_MAX)) {
      if (taken[pair.group]++ < per_group && (pairs_max == 0 || chosen.size() < pairs_max)) chosen.push_back(pair);
    }
  } else if (pairs_max > 0) {
    chosen = spread_budget(config.seed, sizes, pairs, pairs_max);
  } else {
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      for (const ResponsePair& pair : pairs[i]) chosen.push_back({i, pair});
    }
  }
  std::vector<GroupPairs> result;
  for (const ChosenPair& pair : chosen) {
    if (result.empty() || result.back().group != groups[pair.group]) result.push_back({groups[pair.group], {}});
    result.back().pairs.emplace_back(pair.pair.a, pair.pair.b);
  }
  return result;
}

}  // namespace dmoerm::label
