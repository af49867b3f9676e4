// The files of the cells, put together over folds: what each arm reaches on each tested group.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "eval/paired_difference.h"

namespace dmoerm::evidence {

/// An arm on the tested groups of a category: the share of pairs that it orders correctly, averaged over seeds.
struct ArmResult {
  std::vector<double> groups;
  std::vector<double> at_equal_length;  ///< The same of pairs of equally long responses; NaN for a group without one
  std::vector<double> seeds;            ///< Mean over groups for each seed that every fold has
};

/// An expert on the tested groups that have pairs of its point, over folds.
struct ExpertResult {
  double groups = 0;
  double own = 0, universal = 0, length = 0;  ///< Shares of the point's pairs that three rewards order correctly
  double overall = 0;                         ///< Share of overall pairs that the expert orders correctly
};

/// What an arm weights a feature by, as a share of the sizes of all its weights in the same fold.
struct FeatureWeights {
  std::vector<double> values;  ///< One for each seed of each fold that has the feature
  std::int64_t folds = 0;      ///< Number of these folds
};

/// The tested groups of a category under one regime.
struct CategoryResult {
  std::int64_t folds = 0;
  std::vector<std::string> ids;
  std::vector<std::int64_t> clusters;  ///< Groups of one cluster are drawn together
  std::vector<std::int64_t> pairs;
  std::map<std::string, ArmResult> arms;                                 ///< Only those that every fold has
  std::map<std::string, ExpertResult> experts;                           ///< By point
  std::map<std::string, std::map<std::string, FeatureWeights>> weights;  ///< By arm and feature
  std::map<std::string, std::map<std::string, std::int64_t>> counts;     ///< What arms chose, over folds and seeds
};

/// Category -> its result, for the categories of which every fold is there. @throws IoError, DataError
std::map<std::string, CategoryResult> read_cells(const std::filesystem::path& folder, const std::string& regime,
                                                 const std::vector<std::string>& categories, std::int64_t folds);

struct Estimate {
  double value = 0, low = 0, high = 0;
  double error = 0;    ///< Standard deviation over the resamples
  double least_p = 0;  ///< Of no difference; more than 0 where resamples do not tell (eval::paired_difference)
  std::vector<eval::PairedCluster> few = {};  ///< The clusters, where resamples do not tell
};

/// The mean over categories of the mean over groups of one arm less another, with the percentile interval (95 %) of a bootstrap
/// that draws clusters within each category; a difference that few clusters show has bounds instead. @param other  "" for the arm
/// itself
/// @return zeros if a category lacks an arm
Estimate macro(const std::vector<const CategoryResult*>& categories, const std::string& arm, const std::string& other,
               int resamples = 10000);

/// The mean over categories of the mean over those groups that have pairs of equally long responses.
/// @return NaN if no category has such a group, or one lacks the arm
double macro_at_equal_length(const std::vector<const CategoryResult*>& categories, const std::string& arm);

/// Two-sided p-value of no difference, by the normal approximation of the bootstrap; that of eval::paired_difference where few
/// clusters show a difference.
double p_of_difference(const Estimate& difference);
/// The larger p-value of two one-sided tests that the difference is at least `margin` away from 0.
double p_of_distance(const Estimate& difference, double margin);

}  // namespace dmoerm::evidence
