// What a labelling would ask and the most that it can cost, for the dry run.
#pragma once
#include <cstdint>
#include <vector>

#include "config/label_config.h"
#include "judge/judge.h"
#include "label/point_questions.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// Result of a dry run for one point.
struct PointEstimate {
  Target target;
  std::int64_t total = 0, known = 0, skipped = 0, cut = 0;
  std::int64_t prompt_tokens = 0;          ///< Tokens of the new questions
  std::int64_t completion_tokens_max = 0;  ///< Most tokens of their answers
  std::int64_t cost_max_micros = 0;        ///< Most that they can cost
};

/// The questions about the pairs of each target that have no stored answer, and the most that they can cost. Sends nothing.
/// @param pairs  the pairs to ask about, by target
std::vector<PointEstimate> estimate(const std::vector<Target>& targets, const std::vector<std::vector<GroupPairs>>& pairs,
                                    GroupFile& groups, const std::vector<judge::Judge>& judges,
                                    const label_store::LabelStore& store, const config::LabelsConfig& config);

}  // namespace dmoerm::label
