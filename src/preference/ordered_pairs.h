// The rule that derives strictly ordered pairs of responses from what is stated, judged and scored.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "preference/group.h"
#include "preference/preference.h"
#include "preference/swap_check.h"

namespace dmoerm::preference {

/// What a row or a judge says about two responses: which one is better, or that neither is (`winner` is -1).
struct Statement {
  std::int32_t a = 0, b = 0;
  Preference preference{-1, -1, 0.0F};
  bool tie = false;  ///< Neither is better, and that is an answer: a judge's tie, or answers that differ between the two orders
};

/// What a judge's two answers about a pair say.
Statement statement_of(SwapOutcome outcome, std::int32_t a, std::int32_t b);

/// Which pairs without an order stand with the target 0.5: none, those about which there is a verdict, or all.
enum class Ties { left_out, judged, all };

/// The ordered pairs of a group under one label. For each pair of responses a stated pair counts before a verdict, and a verdict
/// before scores. A pair without an order (contradictory statements, or verdicts that prefer different responses in the two
/// orders) is settled too: scores do not overrule it. Scores order the other pairs if their gap is at least score_gap_min, or not
/// 0 if score_gap_min is 0.
/// Ties are contradictory statements, judged ties (also verdicts that contradict each other), and equal scores, in the same order
/// of precedence; a verdict that failed is none.
/// @param scores  one for each response; kMissing where there is none
std::vector<Preference> ordered_pairs(const std::vector<Statement>& stated, const std::vector<Statement>& judged,
                                      const std::vector<double>& scores, double score_gap_min, Ties ties = Ties::left_out);

/// The same for what a group says about a label, kOverall or a capability point.
std::vector<Preference> ordered_pairs(const Group& group, std::string_view label, double score_gap_min);

/// The scores of a group's responses under a label; kMissing where a response has none.
std::vector<double> scores_of(const Group& group, std::string_view label);

}  // namespace dmoerm::preference
