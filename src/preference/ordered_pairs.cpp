#include "preference/ordered_pairs.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace dmoerm::preference {
namespace {

constexpr double kRounding = 1e-9;  // scores that are means of ratings may miss the margin by a rounding error

/// What is said about two responses, and whether a judge says it.
struct Saying {
  Statement statement;
  bool judged = false;
};

/// What is said about unordered pairs of responses.
using Said = std::map<std::pair<std::int32_t, std::int32_t>, Saying>;

Said gather(const std::vector<Statement>& statements, bool judged) {
  Said said;
  for (const Statement& s : statements) {
    const auto [place, fresh] = said.try_emplace({std::min(s.a, s.b), std::max(s.a, s.b)}, Saying{s, judged});
    Statement& before = place->second.statement;
    if (fresh || before.preference.winner == s.preference.winner) continue;
    const auto failed = [](const Statement& t) { return t.preference.winner < 0 && !t.tie; };
    before = {s.a, s.b, Statement{}.preference, !failed(before) && !failed(s)};  // contradictions cancel out
  }
  return said;
}

}  // namespace

Statement statement_of(SwapOutcome outcome, std::int32_t a, std::int32_t b) {
  if (outcome == SwapOutcome::first) return {a, b, {a, b, 0.0F}};
  if (outcome == SwapOutcome::second) return {a, b, {b, a, 0.0F}};
  return {a, b, {-1, -1, 0.0F}, outcome == SwapOutcome::tie || outcome == SwapOutcome::inconsistent};
}

std::vector<Preference> ordered_pairs(const std::vector<Statement>& stated, const std::vector<Statement>& judged,
                                      const std::vector<double>& scores, double score_gap_min, Ties ties) {
  Said decided = gather(stated, false);
  Said verdicts = gather(judged, true);
  decided.merge(verdicts);  // stated pairs stay
  std::vector<Preference> result;
  const auto add_tie = [&](std::int32_t i, std::int32_t j, bool by_judge) {
    if (ties == Ties::all || (ties == Ties::judged && by_judge)) result.push_back({i, j, 0.0F, 0.5F});
  };
  for (const auto& [responses, said] : decided) {
    if (said.statement.preference.winner >= 0) {
      result.push_back(said.statement.preference);
    } else if (said.statement.tie) {
      add_tie(responses.first, responses.second, said.judged);
    }
  }
  for (std::size_t a = 0; a < scores.size(); ++a) {
    for (std::size_t b = a + 1; b < scores.size(); ++b) {
      const auto i = static_cast<std::int32_t>(a), j = static_cast<std::int32_t>(b);
      const double gap = scores[a] - scores[b];
      if (std::isnan(gap) || decided.contains({i, j})) continue;
      if (gap == 0) add_tie(i, j, false);
      if (gap == 0 || std::abs(gap) < score_gap_min - kRounding) continue;
      result.push_back(gap > 0 ? Preference{i, j, 0.0F} : Preference{j, i, 0.0F});
    }
  }
  return result;
}

std::vector<double> scores_of(const Group& group, std::string_view label) {
  std::vector<double> scores;
  for (const Response& r : group.responses) {
    double score = label == kOverall ? r.overall : kMissing;
    if (const auto found = r.scores.find(std::string(label)); found != r.scores.end()) score = found->second;
    scores.push_back(score);
  }
  return scores;
}

std::vector<Preference> ordered_pairs(const Group& group, std::string_view label, double score_gap_min) {
  std::vector<Statement> stated, judged;
  for (const StatedPair& p : group.pairs) {
    if (p.label == label) stated.push_back({p.winner, p.loser, {p.winner, p.loser, static_cast<float>(p.margin)}});
  }
  for (const RecordedVerdict& v : group.verdicts) {
    if (v.point == label) judged.push_back(statement_of(check_swap(v.first_order, v.second_order), v.a, v.b));
  }
  return ordered_pairs(stated, judged, scores_of(group, label), score_gap_min);
}

}  // namespace dmoerm::preference
