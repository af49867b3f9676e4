#include "data/preference_rule.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "preference/group.h"
#include "preference/swap_check.h"

namespace dmoerm::data {
namespace {

constexpr preference::Preference kNone{-1, -1, 0.0F};
constexpr double kRounding = 1e-9;  // scores that are means of ratings may miss the margin by a rounding error

/// What is stated about unordered pairs of responses: a preference, or kNone.
using Said = std::map<std::pair<std::int32_t, std::int32_t>, preference::Preference>;

void say(Said& said, std::int32_t a, std::int32_t b, const preference::Preference& preference) {
  const auto [place, fresh] = said.try_emplace({std::min(a, b), std::max(a, b)}, preference);
  if (!fresh && place->second.winner != preference.winner) place->second = kNone;  // contradictions cancel out
}

preference::Preference meaning(std::uint8_t outcome, std::int32_t a, std::int32_t b) {
  if (static_cast<preference::SwapOutcome>(outcome) == preference::SwapOutcome::first) return {a, b, 0.0F};
  if (static_cast<preference::SwapOutcome>(outcome) == preference::SwapOutcome::second) return {b, a, 0.0F};
  return kNone;
}

std::vector<double> scores_of(const StoreColumns& c, const StoreIndex& index, std::size_t group, std::int32_t label) {
  std::vector<double> scores;
  for (auto r = static_cast<std::size_t>(index.responses[group]); r < static_cast<std::size_t>(index.responses[group + 1]); ++r) {
    double score = label == kOverallLabel ? c.overall[r] : preference::kMissing;
    for (auto i = static_cast<std::size_t>(index.scores[r]); i < static_cast<std::size_t>(index.scores[r + 1]); ++i) {
      if (c.score_label[i] == label) score = c.score_value[i];
    }
    scores.push_back(score);
  }
  return scores;
}

}  // namespace

std::vector<preference::Preference> preferences_of(const StoreColumns& c, const StoreIndex& index, std::int64_t group,
                                                   std::int32_t label, double score_gap_min) {
  std::vector<preference::Preference> result;
  if (label < 0) return result;
  const auto g = static_cast<std::size_t>(group);
  Said stated, judged;
  for (auto i = static_cast<std::size_t>(index.pairs[g]); i < static_cast<std::size_t>(index.pairs[g + 1]); ++i) {
    if (c.pair_label[i] == label)
      say(stated, c.pair_winner[i], c.pair_loser[i], {c.pair_winner[i], c.pair_loser[i], c.pair_margin[i]});
  }
  for (auto i = static_cast<std::size_t>(index.verdicts[g]); i < static_cast<std::size_t>(index.verdicts[g + 1]); ++i) {
    const std::int32_t a = c.verdict_a[i], b = c.verdict_b[i];
    if (c.verdict_label[i] == label) say(judged, a, b, meaning(c.verdict_outcome[i], a, b));
  }
  Said& decided = stated;
  decided.merge(judged);  // stated pairs stay
  for (const auto& [responses, preference] : decided) {
    if (preference.winner >= 0) result.push_back(preference);
  }
  const std::vector<double> scores = scores_of(c, index, g, label);
  for (std::size_t a = 0; a < scores.size(); ++a) {
    for (std::size_t b = a + 1; b < scores.size(); ++b) {
      const auto i = static_cast<std::int32_t>(a), j = static_cast<std::int32_t>(b);
      const double gap = scores[a] - scores[b];
      if (std::isnan(gap) || gap == 0 || std::abs(gap) < score_gap_min - kRounding || decided.contains({i, j})) continue;
      result.push_back(gap > 0 ? preference::Preference{i, j, 0.0F} : preference::Preference{j, i, 0.0F});
    }
  }
  return result;
}

}  // namespace dmoerm::data
