#include "eval/resampling.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/joined_sets.h"
#include "base/rng.h"
#include "eval/paired_difference.h"

namespace dmoerm::eval {
namespace {

struct Sums {
  explicit Sums(std::size_t models) : right(models), shares(models) {}
  double pairs = 0, prompts = 0;
  std::vector<double> right, shares;

  void add(const Cluster& c) {
    pairs += c.pairs;
    prompts += c.prompts;
    for (std::size_t m = 0; m < right.size(); ++m) {
      right[m] += c.right[m];
      shares[m] += c.shares[m];
    }
  }
  static std::vector<double> over(const std::vector<double>& sums, double count) {
    std::vector<double> means;
    for (const double sum : sums) means.push_back(sum / count);
    return means;
  }
};

/// A cluster with its parts in several strata.
using SharedCluster = std::vector<std::pair<std::size_t, const Cluster*>>;

/// What clusters of a sum say of one model.
std::vector<PairedCluster> shares_of(const std::vector<Cluster>& clusters, std::size_t model) {
  std::vector<PairedCluster> shares;
  for (const Cluster& c : clusters) shares.push_back({c.pairs, c.right[model] / c.pairs, c.stratum});
  return shares;
}

/// The clusters of each set of strata that have some in common, in the order of their names.
std::vector<std::vector<SharedCluster>> clusters_of_sets(const std::vector<std::vector<Cluster>>& strata) {
  JoinedSets joined(std::ssize(strata));
  std::map<std::string, SharedCluster> by_name;
  for (std::size_t s = 0; s < strata.size(); ++s) {
    for (const Cluster& cluster : strata[s]) {
      joined.join_by_name(static_cast<std::int64_t>(s), {cluster.name});
      by_name[cluster.name].emplace_back(s, &cluster);
    }
  }
  std::vector<std::vector<SharedCluster>> sets(strata.size());
  for (auto& [name, cluster] : by_name)
    sets[static_cast<std::size_t>(joined.set_of(static_cast<std::int64_t>(cluster.front().first)))].push_back(std::move(cluster));
  return sets;
}

}  // namespace

Interval Resampled::interval(std::size_t model) const {
  if (draws.empty()) return {value[model], 0, 1};
  std::vector<double> own;
  for (const auto& draw : draws) own.push_back(draw[model]);
  if (resamples_tell(shares_of(clusters, model), own)) return percentile_interval(value[model], std::move(own));
  const Interval bounds = wilson(std::clamp(value[model], 0.0, 1.0), trials);
  return {value[model], std::min(bounds.low, value[model]),
          std::max(bounds.high, value[model]),  // RewardBench 2's ties reach 1.01
          true};
}

std::vector<double> Resampled::differences(std::size_t a, std::size_t b) const {
  std::vector<double> differences;
  for (const auto& draw : draws) differences.push_back(draw[a] - draw[b]);
  return differences;
}

Accuracies resample(const std::vector<Cluster>& clusters, std::size_t models, std::uint64_t seed, std::string_view name,
                    int resamples) {
  std::vector<const Cluster*> counted;
  for (const Cluster& c : clusters) {
    if (c.pairs > 0) counted.push_back(&c);
  }
  Accuracies result;
  if (counted.empty()) {
    result.pooled.value = result.by_prompt.value = std::vector<double>(models, 0.5);
    return result;
  }
  result.pooled.trials = result.by_prompt.trials = static_cast<double>(counted.size());
  const auto keep = [&](const Sums& sums, auto&& put) {
    put(result.pooled, Sums::over(sums.right, sums.pairs));
    put(result.by_prompt, Sums::over(sums.shares, sums.prompts));
  };
  Sums all(models);
  for (const Cluster* c : counted) all.add(*c);
  keep(all, [](Resampled& r, std::vector<double> means) { r.value = std::move(means); });
  Rng rng(seed, name);
  for (int r = 0; r < resamples; ++r) {
    Sums sums(models);
    for (std::size_t i = 0; i < counted.size(); ++i) sums.add(*counted[rng.below(counted.size())]);
    keep(sums, [](Resampled& to, std::vector<double> means) { to.draws.push_back(std::move(means)); });
  }
  return result;
}

Resampled sum_of(const std::vector<Stratum>& strata) {
  const std::size_t models = strata.front().of->value.size();
  Resampled sum;
  sum.clusters = clusters_of_sum(strata);
  sum.trials = effective_number(shares_of(sum.clusters, 0));
  sum.value.assign(models, 0);
  sum.draws.assign(strata.front().of->draws.size(), std::vector<double>(models, 0));
  for (const Stratum& s : strata) {
    for (std::size_t m = 0; m < models; ++m) sum.value[m] += s.of->value[m] * s.weight;
    for (std::size_t r = 0; r < sum.draws.size(); ++r) {
      for (std::size_t m = 0; m < models; ++m) sum.draws[r][m] += s.of->draws[r][m] * s.weight;
    }
  }
  return sum;
}

std::vector<Cluster> clusters_of_sum(const std::vector<Stratum>& strata) {
  double weights = 0;
  for (const Stratum& s : strata) weights += s.weight;
  std::map<std::string, Cluster> by_name;
  JoinedSets joined(std::ssize(strata));
  for (std::size_t number = 0; number < strata.size(); ++number) {
    const Stratum& s = strata[number];
    double pairs = 0;
    for (const Cluster& c : *s.clusters) pairs += c.pairs;
    for (const Cluster& c : *s.clusters) {
      joined.join_by_name(static_cast<std::int64_t>(number), {c.name});
      Cluster& own = by_name[c.name];
      own.name = c.name;
      own.stratum = static_cast<std::int64_t>(number);
      own.right.resize(c.right.size());
      own.pairs += s.weight / weights * c.pairs / pairs;
      for (std::size_t m = 0; m < c.right.size(); ++m) own.right[m] += s.weight * c.right[m] / pairs;
    }
  }
  std::vector<Cluster> clusters;
  for (auto& [name, cluster] : by_name) {
    cluster.stratum = joined.set_of(cluster.stratum);
    clusters.push_back(std::move(cluster));
  }
  return clusters;
}

void draw_shared_together(const std::vector<std::vector<Cluster>>& strata, std::vector<Resampled>& pooled, std::uint64_t seed,
                          std::string_view name) {
  Rng rng(seed, name);
  for (const std::vector<SharedCluster>& set : clusters_of_sets(strata)) {
    if (std::ranges::all_of(set, [](const SharedCluster& c) { return c.size() == 1; })) continue;
    std::map<std::size_t, Sums> sums;  // by stratum of the set
    for (const SharedCluster& cluster : set) {
      for (const auto& [stratum, part] : cluster) sums.try_emplace(stratum, part->right.size());
    }
    const std::size_t resamples = pooled[sums.begin()->first].draws.size();
    for (std::size_t r = 0; r < resamples; ++r) {
      for (auto& [stratum, sum] : sums) sum = Sums(sum.right.size());
      for (std::size_t i = 0; i < set.size(); ++i) {
        for (const auto& [stratum, part] : set[rng.below(set.size())]) sums.at(stratum).add(*part);
      }
      for (const auto& [stratum, sum] : sums)
        pooled[stratum].draws[r] = sum.pairs > 0 ? Sums::over(sum.right, sum.pairs) : pooled[stratum].value;
    }
  }
}

}  // namespace dmoerm::eval
