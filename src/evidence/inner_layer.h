// The inner layer alone, without a router: experts over all categories that have their point, and one stack for all.
// Shapes: N responses of all categories, F features.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "evidence/arm_table.h"
#include "evidence/category_arms.h"

namespace dmoerm::evidence {

class InnerLayer {
 public:
  /// @param fold  the outer fold that is tested  @param x_NF  float32
  InnerLayer(const data::TokenStore& store, const StoreScores& scores, const std::vector<CategoryData>& categories,
             std::int64_t fold, const at::Tensor& x_NF);
  /// Add the arm "inner" with one seed to the table of each category: the stack of the experts and of a head on the overall
  /// labels of all categories, shrunk to the mean of the experts. Nothing is added without an expert, or with overall labels of
  /// fewer than two prompts.
  void run(const Regime& regime, std::uint64_t seed, std::vector<ArmTable>& tables);

 private:
  /// Rewards [N] of an expert of each point that enough groups have labels of, in the order of the points' names.
  [[nodiscard]] std::vector<at::Tensor> experts(const Regime& regime, std::uint64_t seed) const;
  /// Rewards [N] of heads, of training groups by those that have not seen them, with a spread of 1.
  [[nodiscard]] at::Tensor rewards(const LabelledGroups& labelled) const;

  const data::TokenStore& store_;
  const StoreScores& scores_;
  const std::vector<CategoryData>& categories_;
  std::int64_t fold_;
  at::Tensor x_NF_;
  LabelledGroups training_;          ///< Groups outside the fold, without pairs
  std::vector<at::Tensor> experts_;  ///< Of the last regime
  std::string of_regime_;
};

}  // namespace dmoerm::evidence
