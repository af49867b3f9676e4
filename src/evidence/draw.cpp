#include "evidence/draw.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "evidence/blocks.h"
#include "evidence/experiment.h"
#include "evidence/heads.h"
#include "preference/formats_of_groups.h"
#include "preference/group_json.h"
#include "preference/line_reader.h"

namespace dmoerm::evidence {
namespace {

using nlohmann::json;

json row_of(const preference::Group& group, preference::Split split, const std::vector<preference::Preference>& overall) {
  json prompt = json::array(), responses = json::array(), pairs = json::array();
  for (const preference::Message& m : group.prompt) prompt.push_back({{"role", m.role}, {"content", m.content}});
  for (const preference::Response& r : group.responses) {
    std::map<std::string, double> scores = r.scores;
    scores.erase(std::string(preference::kFirstRater));
    responses.push_back({{"rid", responses.size()}, {"text", r.text}, {"scores", scores}});
  }
  for (const preference::Preference& p : overall) pairs.push_back({p.winner, p.loser, "a"});
  return {{"id", group.id},   {"category", group.category}, {"split", preference::to_string(split)},
          {"prompt", prompt}, {"responses", responses},     {"preferences", pairs}};
}

/// The fold of each group of a category; fold 0 is tested.
std::vector<std::int64_t> outer_folds(const std::vector<std::int64_t>& blocks, const DrawSettings& settings) {
  return deal(blocks, kOuterFolds, settings.seed);
}

/// leak_key() of what some category of the configuration may be tested on. @param groups  of each category of the store
std::set<std::uint64_t> tested_keys(const config::RunConfig& config, const data::TokenStore& store,
                                    const std::vector<std::vector<std::int64_t>>& groups, const DrawSettings& settings,
                                    const BlockRule& rule) {
  std::set<std::uint64_t> tested;
  for (std::size_t c = 0; c < groups.size(); ++c) {
    if (std::ranges::find(config.categories, store.categories()[c], &config::CategoryConfig::name) == config.categories.end())
      continue;
    const std::vector<std::int64_t> outer = outer_folds(blocks_of(store, groups[c], rule), settings);
    for (std::size_t g = 0; g < outer.size(); ++g) {
      if (outer[g] == 0) tested.insert(leak_key(store, rule, groups[c][g]));
    }
  }
  return tested;
}

/// The prompts of a category that all runs are trained on and tested on, with the data's own overall pairs.
/// @param groups  all of the category, in the order of a hash
/// @param tested_anywhere  leak_key() of what no category is trained on
DrawnCategory prompts_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups,
                         const config::CategoryConfig& category, const DrawSettings& settings, const BlockRule& rule,
                         const std::set<std::uint64_t>& tested_anywhere) {
  const PairLists overall = pairs_of(store, groups, category, std::string(preference::kOverall));
  const std::vector<std::int64_t> blocks = blocks_of(store, groups, rule), outer = outer_folds(blocks, settings),
                                  inner = deal(blocks, kInnerFolds, settings.seed + 1);
  DrawnCategory own{.name = category.name, .groups = {}, .split = {}, .block = {}, .overall = {}};
  std::int64_t trained = 0, tested = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const bool tests = outer[g] == 0;
    if (tests ? overall[g].empty() : tested_anywhere.contains(leak_key(store, rule, groups[g]))) continue;
    const std::int64_t most = tests ? settings.tested : settings.trained;
    std::int64_t& count = tests ? tested : trained;
    if (most > 0 && count == most) continue;
    ++count;
    own.groups.push_back(groups[g]);
    own.split.push_back(tests           ? preference::Split::test
                        : inner[g] == 0 ? preference::Split::validation
                                        : preference::Split::train);
    own.block.push_back(cluster_number(rule, groups[g], blocks[g]));
    own.overall.push_back(overall[g]);
  }
  if (trained == 0 || tested == 0)
    throw DataError("no-category-can-be-tested",
                    fmt::format("category {} has {} prompts to train on and {} with overall labels to test, of {} in the train "
                                "and validation splits: leave it out of the configuration, or {}",
                                category.name, trained, tested, groups.size(),
                                settings.cluster.empty()
                                    ? fmt::format("lower --block-lines ({})", settings.block_lines)
                                    : fmt::format("name a key of smaller clusters than {} (--cluster)", settings.cluster)));
  return own;
}

}  // namespace

std::vector<DrawnCategory> choose_prompts(const config::RunConfig& config, const data::TokenStore& store,
                                          const DrawSettings& settings) {
  const auto all = choose_groups(store, {.seed = settings.seed});
  const BlockRule rule{settings.block_lines, clusters_of(store, config.data, settings.cluster)};
  const std::set<std::uint64_t> tested = tested_keys(config, store, all, settings, rule);
  std::vector<DrawnCategory> chosen;
  for (const config::CategoryConfig& category : config.categories) {
    const auto found = std::ranges::find(store.categories(), category.name);
    if (found == store.categories().end()) continue;
    chosen.push_back(
        prompts_of(store, all[static_cast<std::size_t>(found - store.categories().begin())], category, settings, rule, tested));
  }
  if (chosen.empty())
    throw DataError("no-category-can-be-tested", "the data have none of the categories that the configuration names");
  return chosen;
}

std::vector<DrawnCategory> draw_labels(const config::RunConfig& config, const data::TokenStore& store, const StoreScores& scores,
                                       std::vector<DrawnCategory> chosen, const Regime& regime, std::uint64_t draw) {
  for (DrawnCategory& own : chosen) {
    const auto category = std::ranges::find(config.categories, own.name, &config::CategoryConfig::name);
    PairLists taught = noisy_overall(store, scores, own.groups, *category, regime, draw);
    for (std::size_t g = 0; g < own.groups.size(); ++g) {
      if (own.split[g] == preference::Split::test) taught[g].clear();
    }
    keep_labelled(taught, own.groups, regime.prompts, draw);
    for (std::size_t g = 0; g < own.groups.size(); ++g) {
      if (own.split[g] != preference::Split::test) own.overall[g] = std::move(taught[g]);
    }
  }
  return chosen;
}

void write_draw(const std::vector<DrawnCategory>& categories, const data::TokenStore& store, const std::filesystem::path& texts,
                const std::filesystem::path& output) {
  std::map<std::pair<std::string_view, std::int64_t>, std::pair<std::size_t, std::size_t>> wanted;  // by file and line
  for (std::size_t c = 0; c < categories.size(); ++c) {
    for (std::size_t g = 0; g < categories[c].groups.size(); ++g) wanted[store.source(categories[c].groups[g])] = {c, g};
  }
  std::string rows;
  preference::LineReader lines(texts);
  for (std::string line; lines.next(line);) {
    const preference::Group group = preference::group_from_json_line(line);
    const auto found = wanted.find({group.file, group.line});
    if (found == wanted.end()) continue;
    const auto [c, g] = found->second;
    rows += json_line(row_of(group, categories[c].split[g], categories[c].overall[g])) + "\n";
    wanted.erase(found);
  }
  if (!wanted.empty())
    throw DataError("input-changed-while-read",
                    fmt::format("{}:{}: the prompt of this row is in the token store, and not among those that are read now: the "
                                "file has changed since; start again with an empty --out",
                                wanted.begin()->first.first, wanted.begin()->first.second));
  write_file_atomically(output, rows);
}

}  // namespace dmoerm::evidence
