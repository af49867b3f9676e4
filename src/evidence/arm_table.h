// What the arms of the experiment reach on tested groups, averaged over seeds.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "moe/expert_features.h"

namespace dmoerm::evidence {

/// What is known of the best of n of a list: the gain of the pick's gold score over the list's mean; that of the arm's own
/// reward, in its standard deviations within lists; and the share of subsets of n responses of which none is longer than the
/// pick.
inline constexpr std::array<const char*, 3> kBestOfKinds = {"gold", "own", "longest"};

/// The name of an arm that knows the gold scores: the most that best of n can reach.
inline constexpr const char* kGoldArm = "gold";

/// What best of n is measured by, one number for each row of the rewards.
struct ResponseGold {
  std::vector<double> gold;  ///< Overall score of all raters, of any scale; NaN for a response without one, which is never picked
  std::vector<double> lengths;  ///< Tokens
};

/// Shares of correctly ordered pairs: arm -> one number a tested group, and the mean over groups of each seed; and what the best
/// of n responses by an arm's reward is worth.
class ArmTable {
 public:
  using Groups = std::vector<moe::ExpertFeatures::Group>;
  /// @param tested  groups with the pairs that are tested; rows of the rewards that add() gets
  /// @param of_equal_length  the same groups with those of the pairs whose responses are equally long
  /// @param responses  without gold scores there is no best of n
  ArmTable(Groups tested, Groups of_equal_length, const ResponseGold& responses = {});
  /// One seed's rewards of all responses, [N].
  void add(const std::string& arm, const at::Tensor& reward_N);
  /// A word that an arm chose with one seed, counted.
  void count(const std::string& what, const std::string& word) { ++counts_[what][word]; }
  /// What an arm weights its features by with one seed; kept as shares of the sum of their sizes.
  void weigh(const std::string& arm, const std::vector<std::string>& features, const std::vector<double>& weights);
  /// {"arms": {name: {"groups": [...], "at_equal_length": [...], "seeds": [...], "best_of": {"4": {"gold": [...], "own": [...],
  /// "longest": [...]}, ...}}}, "weights": {arm: {feature: [of each seed]}}, "counts": {...}}; null stands for a group without
  /// pairs of equal length, or with fewer than n responses
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Arm {
    std::vector<double> sum;                                             ///< Of each group over the seeds
    std::vector<double> equal;                                           ///< The same of the pairs of equal length
    std::vector<double> seeds;                                           ///< Mean over groups of each seed
    std::map<std::int64_t, std::vector<std::array<double, 3>>> best_of;  ///< Of each n and group: kBestOfKinds over the seeds
  };
  /// The responses of a tested group that have gold scores.
  struct List {
    std::vector<std::int64_t> rows;
    std::vector<double> gold, lengths;
    double mean_gold = 0;
  };
  void add_best_of(const float* reward_N, Arm& arm) const;

  Groups tested_, equal_;
  std::vector<List> lists_;  ///< Of each tested group; empty without gold scores
  std::vector<std::int64_t> sizes_;
  std::map<std::string, Arm> arms_;
  std::map<std::string, std::map<std::string, std::vector<double>>> weights_;
  std::map<std::string, std::map<std::string, std::int64_t>> counts_;
};

}  // namespace dmoerm::evidence
