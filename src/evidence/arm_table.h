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
  /// @param tested  groups with the pairs that are tested; rows of the rewards that add() gets
  explicit ArmTable(std::vector<moe::ExpertFeatures::Group> tested) : tested_(std::move(tested)) {}
  /// One seed's rewards of all responses, [N].
  void add(const std::string& arm, const at::Tensor& reward_N);
  /// A word that an arm chose with one seed, counted.
  void count(const std::string& what, const std::string& word) { ++counts_[what][word]; }
  /// {"arms": {name: {"groups": [...], "seeds": [...]}}, "counts": {...}}
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Arm {
    std::vector<double> sum;    ///< Of each group over the seeds
    std::vector<double> seeds;  ///< Mean over groups of each seed
  };
  std::vector<moe::ExpertFeatures::Group> tested_;
  std::map<std::string, Arm> arms_;
  std::map<std::string, std::map<std::string, std::int64_t>> counts_;
};

}  // namespace dmoerm::evidence
