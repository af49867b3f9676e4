// The groups that a fit learns from: their rows, the pairs of a step, and folds of whole prompts.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "moe/expert_features.h"

namespace dmoerm::moe {

/// Whole numbers as an int64 tensor.
at::Tensor longs(const std::vector<std::int64_t>& values);
/// 0, 1, ..., count - 1.
std::vector<std::size_t> numbers_below(std::size_t count);

/// Some groups of the features, with their rows.
struct SomeGroups {
  std::vector<ExpertFeatures::Group> groups;  ///< Their responses are numbered from the first of them
  std::vector<std::int64_t> rows;
};
/// @param some  indices into `groups`
SomeGroups select_groups(const std::vector<ExpertFeatures::Group>& groups, const std::vector<std::size_t>& some);

/// Those of some groups that have pairs, together for each prompt, in the order of the prompts' first groups.
std::vector<std::vector<std::size_t>> groups_of_prompts(const std::vector<ExpertFeatures::Group>& groups,
                                                        const std::vector<std::size_t>& some);

/// Folds in which aggregators are compared.
constexpr std::size_t kFolds = 5;

/// Groups inside and outside a fold, in the order of the prompts.
struct GroupFold {
  std::vector<std::size_t> seen, unseen;
};
/// One fold of several: every `folds`th prompt is unseen, beginning with number `fold`.
GroupFold fold_of(const std::vector<std::vector<std::size_t>>& prompts, std::size_t fold, std::size_t folds);

/// The responses of some groups, and the winners and losers of their pairs as places among these responses. Each pair has a
/// weight, so that every group counts once.
struct PairRows {
  at::Tensor rows;  ///< Rows of the features
  at::Tensor winner, loser, weight, margin, target;
};
/// @param chosen  indices into `groups`; one may be chosen twice
PairRows pair_rows(const std::vector<ExpertFeatures::Group>& groups, const std::vector<std::size_t>& chosen);

/// The Bradley-Terry loss, averaged over groups. @param rewards_N  rewards of `pairs.rows`
at::Tensor pair_loss(const at::Tensor& rewards_N, const PairRows& pairs);

}  // namespace dmoerm::moe
