// What the experts and the base of a category say about responses: the input of every aggregator. Shapes: K experts, H width,
// N responses, G groups.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "moe/lazy_rows.h"
#include "preference/preference.h"

namespace dmoerm::moe {

/// States and rewards that the frozen experts give to N responses: of one prompt that is scored, or of groups to fit on. Of
/// groups to fit on the states may be on disk, as they are a thousand times the size of the rest.
struct ExpertFeatures {
  LazyRows states_NKH;    ///< Last-token states, float32, on the CPU
  at::Tensor rewards_NK;  ///< Rewards of the value heads
  struct Group {
    std::int64_t first = 0, count = 0;          ///< Responses [first, first + count)
    std::vector<preference::Preference> pairs;  ///< Overall preferences, as indices within the group; may be empty
    std::int64_t prompt = -1;                   ///< Number of its prompt, which other groups may have too; -1 = none has
  };
  std::vector<Group> groups = {};  ///< Groups of the responses; empty where nothing is fitted
  at::Tensor base_N = {};          ///< Overall rewards of the category's base; undefined where none are known
  at::Tensor length_N = {};        ///< Logarithm of 1 + tokens of the response; undefined where unknown
  LazyRows prompts_GH = {};        ///< Mean state of each group's prompt under the base's backbone, or of the one prompt that is
                                   ///< scored; undefined where unknown

  /// Rewards of the experts and, as the last column, of the base where it is known: [N, K] or [N, K + 1].
  [[nodiscard]] at::Tensor all_rewards() const;
  /// Some consecutive responses of one prompt that is scored.
  [[nodiscard]] ExpertFeatures responses(std::int64_t first, std::int64_t count) const;
};

/// Standard deviation of each expert's rewards around the means of their groups, pooled over all groups, [K]; ones if no group
/// has two responses. The Bradley-Terry loss fixes differences within a group only, so a reward may have any offset from prompt
/// to prompt; the spread over everything would measure those offsets.
at::Tensor spread_within_groups(const at::Tensor& rewards_NK, const std::vector<ExpertFeatures::Group>& groups);

/// Share of all pairs of all groups that `rewards_N` orders correctly (a tie counts half). 0.5 if there are no pairs.
double pair_accuracy(const at::Tensor& rewards_N, const std::vector<ExpertFeatures::Group>& groups);

}  // namespace dmoerm::moe
