// What the arms of the experiment reach on tested groups, averaged over seeds.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "moe/expert_features.h"

namespace dmoerm::evidence {

/// Shares of correctly ordered pairs: arm -> one number a tested group, and the mean over groups of each seed.
class ArmTable {
 public:
  using Groups = std::vector<moe::ExpertFeatures::Group>;
  /// @param tested  groups with the pairs that are tested; rows of the rewards that add() gets
  /// @param of_equal_length  the same groups with those of the pairs whose responses are equally long
  ArmTable(Groups tested, Groups of_equal_length) : tested_(std::move(tested)), equal_(std::move(of_equal_length)) {}
  /// One seed's rewards of all responses, [N].
  void add(const std::string& arm, const at::Tensor& reward_N);
  /// A word that an arm chose with one seed, counted.
  void count(const std::string& what, const std::string& word) { ++counts_[what][word]; }
  /// What an arm weights its features by with one seed; kept as shares of the sum of their sizes.
  void weigh(const std::string& arm, const std::vector<std::string>& features, const std::vector<double>& weights);
  /// {"arms": {name: {"groups": [...], "at_equal_length": [...], "seeds": [...]}}, "weights": {arm: {feature: [of each seed]}},
  /// "counts": {...}}; null stands for a group without pairs of equal length
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Arm {
    std::vector<double> sum;    ///< Of each group over the seeds
    std::vector<double> equal;  ///< The same of the pairs of equal length
    std::vector<double> seeds;  ///< Mean over groups of each seed
  };
  Groups tested_, equal_;
  std::map<std::string, Arm> arms_;
  std::map<std::string, std::map<std::string, std::vector<double>>> weights_;
  std::map<std::string, std::map<std::string, std::int64_t>> counts_;
};

}  // namespace dmoerm::evidence
