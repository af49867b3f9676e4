// Logistic regression on the differences between responses of one prompt, with a ridge penalty: the exact fit of linear rewards.
// Shapes: N responses, F features, P pairs.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "moe/expert_features.h"

namespace dmoerm::moe {

/// The pairs of some groups. All tensors are float64, on the CPU.
struct PairDifferences {
  at::Tensor difference_PF;  ///< Features of the winner less those of the loser
  at::Tensor margin_P, target_P;
  at::Tensor weight_P;                ///< 1 / pairs of the group, so that every group counts once
  std::vector<std::int64_t> prompts;  ///< Prompt of each pair, numbered from 0 in the order of their first pairs
  std::int64_t prompt_count = 0;
};

/// @param features_NF  features of the responses, any floating type
/// @throws DataError if a feature of a response with a pair is not finite
PairDifferences pair_differences(const at::Tensor& features_NF, const std::vector<ExpertFeatures::Group>& groups);
/// The same of some groups. @param some  indices into `groups`
PairDifferences pair_differences(const at::Tensor& features_NF, const std::vector<ExpertFeatures::Group>& groups,
                                 const std::vector<std::size_t>& some);

/// The penalty strength / 2 * (w - towards)' shape (w - towards) + floor / 2 * |w - towards|^2.
struct RidgePenalty {
  at::Tensor towards_F = {};  ///< Undefined: zeros
  at::Tensor shape = {};      ///< Positive diagonal [F], or positive semi-definite matrix [F, F]; undefined: identity
  double floor = 0;  ///< Part of the penalty that does not depend on the strength, for a shape that leaves directions free
};

/// Weights [F], float64, that minimise the sum over pairs of weight * -(t log s(gap) + (1 - t) log s(-gap)), plus the penalty;
/// gap = w . difference - margin, t = target, s = logistic function. Newton's method to the precision of float64. With fewer
/// pairs than features it works in the span of the differences, unless the shape is a matrix. Without pairs it gives `towards`.
/// @param strength  above 0
/// @param start  where Newton starts; undefined: at `towards`
/// @throws NumericError if the penalty leaves a direction free
at::Tensor fit_ridge(const PairDifferences& pairs, const RidgePenalty& penalty, double strength, const at::Tensor& start = {});

/// Summed loss of the pairs under weights [F], as fit_ridge() minimises it without the penalty.
double summed_loss(const PairDifferences& pairs, const at::Tensor& weight_F);

/// Gaps [P] that the fits without each pair's own prompt give, up to 64 features. @param weight_F  the fit on all prompts
/// @param exact  whether each fit goes on until it converges; otherwise it is one step of Newton's method from `weight_F`, whose
///   error falls with the square of the number of prompts
at::Tensor gaps_without_prompt(const PairDifferences& pairs, const RidgePenalty& penalty, double strength,
                               const at::Tensor& weight_F, bool exact);

struct RidgeChoice {
  at::Tensor weight_F;                ///< Fit on all pairs with the chosen strength
  double strength = 0;                ///< The one with the smallest loss on prompts left out; of equal ones the largest
  std::vector<double> held_out_loss;  ///< Mean loss of a group left out, for each strength; empty with one prompt or none
  at::Tensor held_out_gap_P;          ///< Gaps of the pairs left out at that strength; undefined with one prompt or none
};
/// Chooses the strength of the penalty.
/// @param folds  0: leave each prompt out, or one of ten folds if there are more than 64 features; at least 2: folds of prompts
/// @param seed  of the folds
RidgeChoice choose_ridge(const PairDifferences& pairs, const RidgePenalty& penalty, const std::vector<double>& strengths,
                         std::int64_t folds = 0, std::uint64_t seed = 0);

}  // namespace dmoerm::moe
