// The files of the cells: where they are, and what they say together, over folds: what each arm reaches on each tested group.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "eval/paired_difference.h"

namespace dmoerm::evidence {

/// The best of n responses of each tested group (kBestOfKinds), averaged over seeds; NaN for a group with fewer.
struct BestOf {
  std::vector<double> gold, own, longest;
};

/// An arm on the tested groups of a category: the share of pairs that it orders correctly, averaged over seeds.
struct ArmResult {
  std::vector<double> groups;
  std::vector<double> at_equal_length;     ///< The same of pairs of equally long responses; NaN for a group without one
  std::vector<double> seeds;               ///< Mean over groups for each seed that every fold has
  std::map<std::int64_t, BestOf> best_of;  ///< By n
};

/// An expert on the tested groups that have pairs of its point, over folds.
struct ExpertResult {
  double groups = 0;
  double own = 0, universal = 0, length = 0;     ///< Shares of the point's pairs that three rewards order correctly
  double overall = 0;                            ///< Share of overall pairs that the expert orders correctly
  std::map<std::int64_t, std::int64_t> too_few;  ///< Folds without the expert: training groups that have pairs of the point
};

/// Labels that arms learn from.
struct LabelsSeen {
  double overall_prompts = 0, overall_pairs = 0, point_prompts = 0, point_pairs = 0;
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
  bool clusters_over_all = false;      ///< Whether a cluster of the same number in another category is the same one
  std::vector<std::int64_t> pairs;
  std::map<std::string, ArmResult> arms;                                 ///< Only those that every fold has
  std::map<std::string, std::set<std::int64_t>> folds_with;              ///< Folds that have an arm, whether all have it or not
  std::map<std::string, ExpertResult> experts;                           ///< By point
  std::map<std::string, std::map<std::string, FeatureWeights>> weights;  ///< By arm and feature
  std::map<std::string, std::map<std::string, std::int64_t>> counts;     ///< What arms chose, over folds and seeds
  /// What the arms of a fold learn from, the mean over folds and seeds; nothing if a fold's cell does not say it
  std::optional<LabelsSeen> labels;
};

/// The file of a category's cell.
std::filesystem::path cell_file(const std::filesystem::path& folder, const std::string& regime, const std::string& category,
                                std::int64_t fold);
/// The file of the cell with the models over all categories.
std::filesystem::path single_file(const std::filesystem::path& folder, const std::string& regime, std::int64_t fold);
/// The file of the cell with the inner layer alone, which only `cells --inner` writes.
std::filesystem::path inner_file(const std::filesystem::path& folder, const std::string& regime, std::int64_t fold);
/// Make `folder` one of cells of this basis: what their figures depend on. Cells of another one do not count any more, and a
/// warning says what differs.
void begin_cells(const std::filesystem::path& folder, const nlohmann::json& basis);

/// The categories that have no cells, and why: "has ...".
std::map<std::string, std::string> left_out(const std::filesystem::path& folder);

/// Category -> its result, for the categories of which every fold is there, as are the models over all categories. Cells of
/// another basis than the folder's are not. The inner layer alone is an arm where every fold has it.
/// @throws IoError, DataError
std::map<std::string, CategoryResult> read_cells(const std::filesystem::path& folder, const std::string& regime,
                                                 const std::vector<std::string>& categories, std::int64_t folds);

struct Estimate {
  double value = 0, low = 0, high = 0;
  double error = 0;    ///< Standard deviation over the resamples
  double least_p = 0;  ///< Of no difference; more than 0 where resamples do not tell (eval::paired_difference)
  std::vector<eval::PairedCluster> few = {};  ///< The clusters, where resamples do not tell
};

/// What the values of groups are: it says which bounds they have.
enum class ValueKind : std::uint8_t { any, share, difference };

/// The mean over categories of the mean over groups of one arm less another, with the percentile interval (95 %) of a bootstrap
/// that draws clusters within each category, and one that several categories have in all of them. Where resamples do not tell
/// (eval::resamples_tell), as where categories of one cluster weigh much, an arm has Wilson's interval over the clusters with
/// their weights instead, and a difference has bounds, also if few clusters show it. @param other  "" for the arm itself
/// @return nothing if a category lacks an arm, or there is no category
std::optional<Estimate> macro(const std::vector<const CategoryResult*>& categories, const std::string& arm,
                              const std::string& other, int resamples = 10000);

/// The same of any values of the groups of each category, NaN where a group does not count; nothing if none of a category counts.
/// @param kind  those of any kind have no bounds
std::optional<Estimate> macro_of(const std::vector<const CategoryResult*>& categories,
                                 const std::vector<std::vector<double>>& values, ValueKind kind, int resamples = 10000);

/// The mean over categories of the mean over those groups that have pairs of equally long responses.
/// @return NaN if no category has such a group, or one lacks the arm
double macro_at_equal_length(const std::vector<const CategoryResult*>& categories, const std::string& arm);

/// Two-sided p-value of no difference, by the normal approximation of the bootstrap; that of eval::paired_difference where few
/// clusters show a difference.
double p_of_difference(const Estimate& difference);
/// The larger p-value of two one-sided tests that the difference is at least `margin` away from 0.
double p_of_distance(const Estimate& difference, double margin);

}  // namespace dmoerm::evidence
