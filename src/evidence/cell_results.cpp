#include "evidence/cell_results.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.h"
#include "base/joined_sets.h"
#include "base/log.h"
#include "base/rng.h"
#include "eval/interval.h"

namespace dmoerm::evidence {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kBasis = "basis.json";

/// The settings in which two bases differ: "block_lines: 1 -> 10, categories.chat.prompts: 20 -> 50".
std::string differences(const json& before, const json& now) {
  std::vector<std::string> list;
  const json old = before.flatten(), fresh = now.flatten();
  const auto add = [&](const std::string& key) {
    const auto value = [&](const json& in) { return in.contains(key) ? in.at(key).dump() : "none"; };
    std::string name = key.substr(1);
    std::ranges::replace(name, '/', '.');
    list.push_back(fmt::format("{}: {} -> {}", name, value(old), value(fresh)));
  };
  for (const auto& [key, value] : fresh.items()) {
    if (!old.contains(key) || old.at(key) != value) add(key);
  }
  for (const auto& [key, value] : old.items()) {
    if (!fresh.contains(key)) add(key);
  }
  return fmt::format("{}", fmt::join(list, ", "));
}

/// The cell in a file, if it is there and of this basis.
std::optional<json> read_cell(const fs::path& file, const json& basis) {
  if (!fs::exists(file)) return std::nullopt;
  json cell = read_json(file);
  if (cell.value("basis", json()) != basis) return std::nullopt;
  return cell;
}

/// Adds the best of n of a fold, whose groups have been added.
void add_best_of(const json& arm, std::size_t groups_before, ArmResult& own) {
  const auto append = [&](std::vector<double>& values, const json& more) {
    values.resize(groups_before, std::nan(""));
    for (const json& value : more) values.push_back(value.is_null() ? std::nan("") : value.get<double>());
  };
  const json best_of = arm.value("best_of", json::object());
  for (const auto& [n, kinds] : best_of.items()) {
    BestOf& best = own.best_of[std::stoll(n)];
    append(best.gold, kinds.at("gold")), append(best.own, kinds.at("own")), append(best.longest, kinds.at("longest"));
  }
  for (auto& [n, best] : own.best_of) {  // a fold may have no list of n
    for (std::vector<double>* values : {&best.gold, &best.own, &best.longest}) values->resize(own.groups.size(), std::nan(""));
  }
}

/// Adds a fold's arms. An arm that a fold lacks will be removed, since its groups would not be those of the others.
void add_arms(const json& cell, std::int64_t fold, std::size_t groups_before, CategoryResult& result) {
  const std::size_t groups = result.ids.size() - groups_before;
  for (const auto& [name, arm] : cell.at("arms").items()) {
    result.folds_with[name].insert(fold);
    const auto [known, is_new] = result.arms.try_emplace(name);
    ArmResult& own = known->second;
    if (own.groups.size() != groups_before) continue;
    const auto of_groups = arm.at("groups").get<std::vector<double>>();
    const auto seeds = arm.at("seeds").get<std::vector<double>>();
    if (of_groups.size() != groups) continue;
    own.groups.insert(own.groups.end(), of_groups.begin(), of_groups.end());
    own.at_equal_length.resize(groups_before, std::nan(""));
    for (const json& share : arm.value("at_equal_length", json::array()))
      own.at_equal_length.push_back(share.is_null() ? std::nan("") : share.get<double>());
    own.at_equal_length.resize(own.groups.size(), std::nan(""));
    add_best_of(arm, groups_before, own);
    own.seeds.resize(is_new ? seeds.size() : std::min(own.seeds.size(), seeds.size()));
    for (std::size_t s = 0; s < own.seeds.size(); ++s) own.seeds[s] += seeds[s] * static_cast<double>(groups);
  }
  for (const auto& [what, words] : cell.at("counts").items()) {
    for (const auto& [word, count] : words.items()) result.counts[what][word] += count.get<std::int64_t>();
  }
}

void add_experts(const json& cell, std::int64_t fold, CategoryResult& result) {
  if (!cell.contains("experts")) return;
  for (const auto& [point, figures] : cell.at("experts").items()) {
    ExpertResult& expert = result.experts[point];
    if (figures.contains("labelled")) expert.too_few[fold] = figures.at("labelled");
    const double before = expert.groups, more = figures.at("groups").get<double>();
    if (more <= 0) continue;
    const auto add = [&](double& mean, const char* key) {
      mean = (mean * before + figures.at(key).get<double>() * more) / (before + more);
    };
    add(expert.own, "own"), add(expert.universal, "universal"), add(expert.length, "length"), add(expert.overall, "overall");
    expert.groups += more;
  }
}

void add_weights(const json& cell, CategoryResult& result) {
  if (!cell.contains("weights")) return;  // of an earlier version
  for (const auto& [arm, features] : cell.at("weights").items()) {
    for (const auto& [feature, of_seeds] : features.items()) {
      const auto seeds = of_seeds.get<std::vector<double>>();
      FeatureWeights& own = result.weights[arm][feature];
      own.values.insert(own.values.end(), seeds.begin(), seeds.end());
      ++own.folds;
    }
  }
}

void add_labels(const json& cell, CategoryResult& result) {
  if (!cell.contains("labels")) result.labels.reset();
  if (!result.labels) return;
  const auto add = [&](double& mean, const char* of, const char* what) {
    mean += cell["labels"].at(of).at(what).get<double>() / static_cast<double>(result.folds);
  };
  add(result.labels->overall_prompts, "overall", "prompts"), add(result.labels->overall_pairs, "overall", "pairs");
  add(result.labels->point_prompts, "points", "prompts"), add(result.labels->point_pairs, "points", "pairs");
}

/// Whether clusters are those that a key of the rows names, and have one number in all categories.
bool has_clusters_over_all(const json& basis) {
  const json draws = basis.value("draws", json::object());
  return draws.contains("cluster") || basis.value("cluster", json::object()).contains("numbered");
}

/// @param over_all  the cells with the models over all categories, a list for each fold
std::optional<CategoryResult> read_category(const fs::path& folder, const json& basis, const std::string& regime,
                                            const std::string& category, const std::vector<std::vector<json>>& over_all) {
  CategoryResult result;
  result.folds = std::ssize(over_all);
  result.labels.emplace();
  result.clusters_over_all = has_clusters_over_all(basis);
  for (std::int64_t fold = 0; fold < result.folds; ++fold) {
    const std::optional<json> cell = read_cell(cell_file(folder, regime, category, fold), basis);
    if (!cell) return std::nullopt;
    const std::size_t before = result.ids.size();
    for (const json& group : cell->at("groups")) {
      result.ids.push_back(group.at("id"));
      result.clusters.push_back(group.at("cluster"));
      result.pairs.push_back(group.at("pairs"));
    }
    add_arms(*cell, fold, before, result);
    add_experts(*cell, fold, result);
    add_weights(*cell, result);
    add_labels(*cell, result);
    for (const json& trained_on_all : over_all[static_cast<std::size_t>(fold)]) {
      if (const json& of = trained_on_all.at("categories"); of.contains(category))
        add_arms(of.at(category), fold, before, result);
    }
  }
  std::erase_if(result.arms, [&](const auto& arm) { return arm.second.groups.size() != result.ids.size(); });
  for (auto& [name, arm] : result.arms) {
    for (double& seed : arm.seeds) seed /= static_cast<double>(std::max<std::size_t>(1, result.ids.size()));
  }
  return result;
}

/// What the groups of a cluster have in one category: the sum of their values, and their number.
struct Part {
  std::size_t category = 0;
  double sum = 0, count = 0;
};
using Cluster = std::vector<Part>;

/// The clusters of each set of categories that have some in common.
/// @param values  of each group of each category
std::vector<std::vector<Cluster>> clusters_of_sets(const std::vector<const CategoryResult*>& categories,
                                                   const std::vector<std::vector<double>>& values) {
  std::map<std::pair<std::size_t, std::int64_t>, Cluster> clusters;
  for (std::size_t c = 0; c < categories.size(); ++c) {
    for (std::size_t g = 0; g < values[c].size(); ++g) {
      if (std::isnan(values[c][g])) continue;
      Cluster& own = clusters[{categories[c]->clusters_over_all ? 0 : c + 1, categories[c]->clusters[g]}];
      if (own.empty() || own.back().category != c) own.push_back({.category = c});
      own.back().sum += values[c][g];
      own.back().count += 1;
    }
  }
  JoinedSets joined(std::ssize(categories));
  const auto number = [](const Part& part) { return static_cast<std::int64_t>(part.category); };
  for (const auto& [name, cluster] : clusters) {
    for (const Part& part : cluster) joined.join(number(cluster.front()), number(part));
  }
  std::vector<std::vector<Cluster>> sets(categories.size());
  for (auto& [name, cluster] : clusters)
    sets[static_cast<std::size_t>(joined.set_of(number(cluster.front())))].push_back(std::move(cluster));
  return sets;
}

/// Resamples of the mean of the categories' means. A category of which a resample has nothing keeps its mean there.
std::vector<double> draws_of(const std::vector<std::vector<Cluster>>& sets, const std::vector<double>& means, int resamples) {
  std::vector<double> drawn(static_cast<std::size_t>(resamples));
  Rng rng(17, "evidence/bootstrap");
  for (double& value : drawn) {
    std::vector<Part> sums(means.size());
    for (const std::vector<Cluster>& set : sets) {
      for (std::size_t i = 0; i < set.size(); ++i) {
        for (const Part& part : set[rng.below(set.size())])
          sums[part.category].sum += part.sum, sums[part.category].count += part.count;
      }
    }
    for (std::size_t c = 0; c < means.size(); ++c)
      value += (sums[c].count > 0 ? sums[c].sum / sums[c].count : means[c]) / static_cast<double>(means.size());
  }
  return drawn;
}

/// Each cluster with its weight in the mean, of its set. @param groups  of each category
std::vector<eval::PairedCluster> weighted(const std::vector<std::vector<Cluster>>& sets, const std::vector<double>& groups) {
  std::vector<eval::PairedCluster> clusters;
  for (std::size_t s = 0; s < sets.size(); ++s) {
    for (const Cluster& cluster : sets[s]) {
      double weight = 0, sum = 0;
      for (const Part& part : cluster) weight += part.count / groups[part.category], sum += part.sum / groups[part.category];
      clusters.push_back({weight, sum / weight, static_cast<std::int64_t>(s)});
    }
  }
  return clusters;
}

/// Bounds instead of resamples, where these do not tell.
void bound(Estimate& estimate, std::vector<eval::PairedCluster> clusters, const std::vector<double>& drawn, ValueKind kind) {
  eval::Interval bounds;
  if (kind == ValueKind::difference) {
    const eval::PairedDifference found = eval::paired_difference(estimate.value, clusters, drawn);
    if (!found.interval.bounded) return;
    bounds = found.interval;
    estimate.least_p = found.p;
  } else {
    if (eval::resamples_tell(clusters, drawn)) return;
    bounds = eval::wilson(std::clamp(estimate.value, 0.0, 1.0), eval::effective_number(clusters));
  }
  estimate.low = std::min(bounds.low, estimate.value), estimate.high = std::max(bounds.high, estimate.value);
  estimate.few = std::move(clusters);
}

double upper_tail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

}  // namespace

fs::path cell_file(const fs::path& folder, const std::string& regime, const std::string& category, std::int64_t fold) {
  return folder / regime / fmt::format("category-{}-{}.json", category, fold);
}

fs::path single_file(const fs::path& folder, const std::string& regime, std::int64_t fold) {
  return folder / regime / fmt::format("single-{}.json", fold);
}

fs::path inner_file(const fs::path& folder, const std::string& regime, std::int64_t fold) {
  return folder / regime / fmt::format("inner-{}.json", fold);
}

void begin_cells(const fs::path& folder, const json& basis) {
  const fs::path file = folder / kBasis;
  fs::create_directories(folder);
  if (const json before = fs::exists(file) ? read_json(file) : basis; before != basis)
    spdlog::warn("[evidence] {}: its cells were computed otherwise, and are computed again: {}", folder.string(),
                 differences(before, basis));
  write_json_atomically(file, basis);
}

std::map<std::string, std::string> left_out(const fs::path& folder) {
  const fs::path file = folder / kBasis;
  return fs::exists(file) ? read_json(file).value("left_out", std::map<std::string, std::string>{})
                          : std::map<std::string, std::string>{};
}

std::map<std::string, CategoryResult> read_cells(const fs::path& folder, const std::string& regime,
                                                 const std::vector<std::string>& categories, std::int64_t folds) {
  std::map<std::string, CategoryResult> results;
  if (!fs::exists(folder / kBasis)) return results;  // of an earlier version
  const json basis = read_json(folder / kBasis);
  std::vector<std::vector<json>> over_all;
  for (std::int64_t fold = 0; fold < folds; ++fold) {
    std::optional<json> single = read_cell(single_file(folder, regime, fold), basis);
    if (!single) return results;
    over_all.emplace_back().push_back(std::move(*single));
    if (std::optional<json> inner = read_cell(inner_file(folder, regime, fold), basis))
      over_all.back().push_back(std::move(*inner));
  }
  for (const std::string& category : categories) {
    if (auto result = read_category(folder, basis, regime, category, over_all)) results[category] = std::move(*result);
  }
  return results;
}

std::optional<Estimate> macro(const std::vector<const CategoryResult*>& categories, const std::string& arm,
                              const std::string& other, int resamples) {
  if (categories.empty()) return std::nullopt;
  std::vector<std::vector<double>> values;
  for (const CategoryResult* category : categories) {
    const auto a = category->arms.find(arm), b = category->arms.find(other);
    if (a == category->arms.end() || (!other.empty() && b == category->arms.end())) return std::nullopt;
    std::vector<double>& own = values.emplace_back(a->second.groups);
    for (std::size_t g = 0; !other.empty() && g < own.size(); ++g) own[g] -= b->second.groups[g];
  }
  return macro_of(categories, values, other.empty() ? ValueKind::share : ValueKind::difference, resamples);
}

std::optional<Estimate> macro_of(const std::vector<const CategoryResult*>& categories,
                                 const std::vector<std::vector<double>>& values, ValueKind kind, int resamples) {
  std::vector<double> means, groups;
  Estimate estimate;
  for (const std::vector<double>& own : values) {
    double sum = 0, count = 0;
    for (const double value : own) {
      if (!std::isnan(value)) sum += value, ++count;
    }
    if (count == 0) return std::nullopt;
    groups.push_back(count);
    means.push_back(sum / count);
    estimate.value += means.back() / static_cast<double>(categories.size());
  }
  const std::vector<std::vector<Cluster>> sets = clusters_of_sets(categories, values);
  const std::vector<double> drawn = draws_of(sets, means, resamples);
  const eval::Interval interval = eval::percentile_interval(estimate.value, drawn);
  estimate.low = interval.low, estimate.high = interval.high;
  const double mean = std::reduce(drawn.begin(), drawn.end()) / resamples;
  for (const double value : drawn) estimate.error += (value - mean) * (value - mean) / resamples;
  estimate.error = std::sqrt(estimate.error);
  if (kind != ValueKind::any) bound(estimate, weighted(sets, groups), drawn, kind);
  return estimate;
}

double macro_at_equal_length(const std::vector<const CategoryResult*>& categories, const std::string& arm) {
  double sum = 0, count = 0;
  for (const CategoryResult* category : categories) {
    const auto found = category->arms.find(arm);
    if (found == category->arms.end()) return std::nan("");
    double own = 0, groups = 0;
    for (const double share : found->second.at_equal_length) {
      if (!std::isnan(share)) own += share, ++groups;
    }
    if (groups > 0) sum += own / groups, ++count;
  }
  return count > 0 ? sum / count : std::nan("");
}

double p_of_difference(const Estimate& difference) {
  return difference.error > 0 ? std::max(difference.least_p, 2 * upper_tail(std::abs(difference.value) / difference.error)) : 1;
}

double p_of_distance(const Estimate& difference, double margin) {
  if (!difference.few.empty()) return eval::level_p(difference.few, {}, margin);
  if (!(difference.error > 0)) return 1;
  return std::max(upper_tail((difference.value + margin) / difference.error),
                  upper_tail((margin - difference.value) / difference.error));
}

}  // namespace dmoerm::evidence
