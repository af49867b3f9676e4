// Differences of two models on the same clusters. Resampling tells how they vary only if enough clusters tell the models apart:
// one prompt drawn again and again is always the same prompt.
#pragma once
#include <cstdint>
#include <vector>

#include "eval/interval.h"

namespace dmoerm::eval {

/// What one cluster says about two models.
struct PairedCluster {
  double weight = 1;         ///< Its share of the mean, in any unit; a cluster without weight does not count
  double difference = 0;     ///< First model minus second
  std::int64_t stratum = 0;  ///< Clusters are drawn from those of the same stratum
};

/// What stands behind an interval of bounds, and what explains it below a table.
inline constexpr const char* kBoundsMark = " (bounds)";
inline const char* bounds_mark(const Interval& interval) { return interval.bounded ? kBoundsMark : ""; }
inline constexpr const char* kBoundsNote =
    "\nBounds: resamples say nothing here, as too few clusters tell the two models apart, or all of them say the same, in the "
    "whole or in categories that weigh much.\n";

/// The largest share of the weights that clusters could have which say something else than those that were seen, in strata whose
/// clusters all say the same, as one cluster alone always does: by the exact bound for none of as many. 0 without such strata.
double hidden_by_agreement(const std::vector<PairedCluster>& clusters);

/// Whether draws tell how a mean over clusters varies. They do not if they are equal, or if strata whose clusters all say the
/// same, and which are the same in each draw, could move the mean by more than a quarter of the width of the resampled interval.
/// @param range  the largest difference that a cluster can have
bool resamples_tell(const std::vector<PairedCluster>& clusters, const std::vector<double>& draws, double range = 1);

/// Clusters of equal weights that know as much as these (Kish): with the same sum of squared weights.
double effective_number(const std::vector<PairedCluster>& clusters);

struct PairedDifference {
  Interval interval;  ///< 95 %, around the value given
  double p = 1;       ///< Of no difference, two-sided
};

/// The resampled interval and p-value, where resamples can give them. `p` is at least that of a sign test in which all clusters
/// that differ agree. Where that is above 0.05, or resamples do not tell, the interval has the exact bounds (Clopper and Pearson)
/// of how much the first model gains and loses, so it is [-range, range] without clusters and never excludes 0 while p is above
/// 0.05. Clusters of unequal weights count as their effective number. Where resamples do not tell, p is that of the bounds: twice
/// the tail at which those of gain and of loss meet; if all clusters differ and agree, that of the sign test.
/// @param value  the difference of the two models
/// @param draws  the difference in each resample
/// @param range  the largest difference that a cluster can have
PairedDifference paired_difference(double value, const std::vector<PairedCluster>& clusters, const std::vector<double>& draws,
                                   double range = 1);

/// p-value of "the difference is at least `margin` either way". Where resamples do not tell (as above): the probability of gains,
/// and of losses, as small as these if a share `margin` of the clusters had one. Below 0.05 the models are level.
double level_p(const std::vector<PairedCluster>& clusters, const std::vector<double>& draws, double margin);

/// Regularised incomplete beta function: the distribution function of Beta(a, b) at x.
double beta_share(double x, double a, double b);

}  // namespace dmoerm::eval
