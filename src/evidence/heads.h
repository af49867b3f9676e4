// Linear heads with strengths chosen on inner folds, and the heads of these folds. Shapes: N responses, F features, K heads.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "moe/pairwise_ridge.h"

namespace dmoerm::evidence {

constexpr std::int64_t kInnerFolds = 5;

/// Groups with pairs under some label; a group may stand there several times, under several labels.
struct LabelledGroups {
  std::vector<moe::ExpertFeatures::Group> groups;
  std::vector<std::int64_t> fold;  ///< Inner fold of each, by prompt
  void append(const LabelledGroups& other);
  /// These groups with others that count several times as much.
  [[nodiscard]] LabelledGroups with(const LabelledGroups& others, int times) const;
  /// Those of the first inner folds, or of the others.
  [[nodiscard]] LabelledGroups of_first_folds(std::int64_t folds, bool others = false) const;
};

/// The factor with which a reward, the only feature of these pairs, explains them best; at least 0.
double best_scale(const moe::PairDifferences& of_reward);

/// A head on all groups, and for each inner fold the head on the others.
struct Heads {
  at::Tensor all_F, without_KF;  ///< float64; without_KF has a row for each inner fold
  double strength = 0;
  double held_out_loss = 0;  ///< Of a judged group in its fold
};

/// Strengths of the penalty that heads choose from.
const std::vector<double>& head_strengths();
/// The same for heads that shrink to others.
const std::vector<double>& residual_strengths();

/// Chooses the strength by the loss on inner folds.
/// @param judged   groups whose loss that is, with the heads' rewards times the factor that suits them; null: those that teach
/// @param towards  what the heads shrink to, each to that of its own fold; null: zeros
/// @param scale    factor of those
Heads fit_heads(const at::Tensor& x_NF, const LabelledGroups& labelled, const std::vector<double>& strengths,
                const LabelledGroups* judged = nullptr, const Heads* towards = nullptr, double scale = 1);

/// Rewards [N] of all responses, float64: those of the groups of `seen`, which need no pairs, by the heads that were trained
/// without their inner fold.
at::Tensor out_of_fold(const Heads& heads, const at::Tensor& x_NF, const LabelledGroups& seen);

}  // namespace dmoerm::evidence
