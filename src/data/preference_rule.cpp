#include "data/preference_rule.h"

#include "preference/group.h"

namespace dmoerm::data {
std::vector<double> scores_of(const StoreView& c, const IndexView& index, std::int64_t group, std::int32_t label) {
  const auto g = static_cast<std::size_t>(group);
  std::vector<double> scores;
  for (auto r = static_cast<std::size_t>(index.responses[g]); r < static_cast<std::size_t>(index.responses[g + 1]); ++r) {
    double score = label == kOverallLabel ? c.overall[r] : preference::kMissing;
    for (auto i = static_cast<std::size_t>(index.scores[r]); i < static_cast<std::size_t>(index.scores[r + 1]); ++i) {
      if (c.score_label[i] == label) score = c.score_value[i];
    }
    scores.push_back(score);
  }
  return scores;
}

std::vector<preference::Preference> preferences_of(const StoreView& c, const IndexView& index, std::int64_t group,
                                                   std::int32_t label, double score_gap_min, preference::Ties ties) {
  if (label < 0) return {};
  const auto g = static_cast<std::size_t>(group);
  std::vector<preference::Statement> stated, judged;
  for (auto i = static_cast<std::size_t>(index.pairs[g]); i < static_cast<std::size_t>(index.pairs[g + 1]); ++i) {
    const std::int32_t winner = c.pair_winner[i], loser = c.pair_loser[i];
    if (c.pair_label[i] == label) stated.push_back({winner, loser, {winner, loser, c.pair_margin[i]}});
  }
  for (auto i = static_cast<std::size_t>(index.verdicts[g]); i < static_cast<std::size_t>(index.verdicts[g + 1]); ++i) {
    if (c.verdict_label[i] == label)
      judged.push_back(
          preference::statement_of(static_cast<preference::SwapOutcome>(c.verdict_outcome[i]), c.verdict_a[i], c.verdict_b[i]));
  }
  return preference::ordered_pairs(stated, judged, scores_of(c, index, group, label), score_gap_min, ties);
}

}  // namespace dmoerm::data
