// Accuracies of several models on the same data, and how they vary when prompts are drawn again. The draws are shared: the
// difference of two models is compared within each of them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eval/interval.h"

namespace dmoerm::eval {

/// What belongs together: the groups of a conversation or a document. The bootstrap draws clusters.
struct Cluster {
  double pairs = 0, prompts = 0;
  std::vector<double> right;   ///< Pairs that each model orders correctly; an equal score counts half
  std::vector<double> shares;  ///< Of each model, the sum over the prompts of the share of its pairs that are right
  std::string name = {};       ///< Where clusters of one name in different strata are one
  std::int64_t stratum = 0;    ///< Of a sum: clusters are drawn from those of the same number
};

/// A figure of each model, as it is and in each resample.
struct Resampled {
  std::vector<double> value;               ///< [models]
  std::vector<std::vector<double>> draws;  ///< [resamples][models]
  double trials = 0;                       ///< Clusters with pairs; of a sum their effective number
  std::vector<Cluster> clusters = {};      ///< Of a sum: clusters_of_sum()

  /// 95 % percentile interval of one model; Wilson's over the clusters, `bounded`, where resamples do not tell: all agree, or
  /// some strata of a sum hide too much (resamples_tell).
  [[nodiscard]] Interval interval(std::size_t model) const;
  /// Model `a` minus model `b` in each resample.
  [[nodiscard]] std::vector<double> differences(std::size_t a, std::size_t b) const;
};

/// Two kinds of mean over the same draws.
struct Accuracies {
  Resampled pooled;     ///< Every pair counts the same
  Resampled by_prompt;  ///< Every prompt counts the same
};

/// Clusters without pairs are left out. Without any pair every value is 0.5 and there are no draws.
/// @param name  names the stream of random numbers, with `seed`
Accuracies resample(const std::vector<Cluster>& clusters, std::size_t models, std::uint64_t seed, std::string_view name,
                    int resamples);

/// A term of a weighted sum, such as one of several categories that count the same.
struct Stratum {
  const Resampled* of = nullptr;  ///< With draws
  double weight = 1;
  const std::vector<Cluster>* clusters = nullptr;  ///< From which they are drawn, with pairs
};
/// The weighted sum of strata, of one or more.
Resampled sum_of(const std::vector<Stratum>& strata);
/// Their clusters with what they add to the sum: `right` sum to its value, and `pairs`, which are weights here, to 1. Clusters of
/// one name are one, and strata that share some are one, too.
std::vector<Cluster> clusters_of_sum(const std::vector<Stratum>& strata);

/// Draw again the pooled figures of those strata that have clusters in common, such as a document with prompts of two categories:
/// such a cluster is drawn as a whole. A stratum of which a resample has nothing keeps its value there.
/// @param strata  the clusters of each, by name, with pairs
/// @param pooled  their figures; those of strata that share no cluster stay as they are
void draw_shared_together(const std::vector<std::vector<Cluster>>& strata, std::vector<Resampled>& pooled, std::uint64_t seed,
                          std::string_view name);

}  // namespace dmoerm::eval
