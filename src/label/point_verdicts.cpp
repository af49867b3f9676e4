#include "label/point_verdicts.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"

namespace dmoerm::label {
namespace {

using preference::SwapOutcome;

/// Preference by the group's recorded verdicts, believed ones only: 1 = a is better, -1 = b, 0 = undecided.
int recorded_preference(const preference::Group& group, std::string_view label, int a, int b) {
  int said = 0;
  for (const preference::RecordedVerdict& v : group.verdicts) {
    const bool same = v.a == a && v.b == b;
    if (v.point != label || !(same || (v.a == b && v.b == a))) continue;
    const SwapOutcome outcome = preference::check_swap(v.first_order, v.second_order);
    if (outcome == SwapOutcome::first) said += same ? 1 : -1;
    if (outcome == SwapOutcome::second) said += same ? -1 : 1;
  }
  return said == 0 ? 0 : said > 0 ? 1 : -1;
}

/// Gap between the scores of two responses under a label; NaN if one of them has none.
double score_gap(const preference::Group& group, std::string_view label, int a, int b) {
  const auto score = [&](int r) {
    const preference::Response& response = group.responses[static_cast<std::size_t>(r)];
    if (label == preference::kOverall) return response.overall;
    const auto found = response.scores.find(std::string(label));
    return found == response.scores.end() ? preference::kMissing : found->second;
  };
  return score(a) - score(b);
}

/// Preference by the data between two responses under a label: 1 = a is better, -1 = b, 0 = none. Human labels take precedence
/// over recorded verdicts.
int data_preference(const preference::Group& group, std::string_view label, int a, int b, double score_gap_min) {
  const int human = human_preference(group, label, a, b, score_gap_min);
  return human == 0 && std::isnan(score_gap(group, label, a, b)) ? recorded_preference(group, label, a, b) : human;
}

void count(VerdictCounts& counts, SwapOutcome outcome, int point, int overall) {
  ++counts.outcomes[static_cast<std::size_t>(outcome)];
  if (outcome != SwapOutcome::first && outcome != SwapOutcome::second) return;
  const int said = outcome == SwapOutcome::first ? 1 : -1;
  for (const auto& [own, agreement] : {std::pair(point, &counts.point), {overall, &counts.overall}}) {
    if (own == 0) continue;
    ++agreement->total;
    if (own == said) ++agreement->right;
  }
}

SwapOutcome outcome_from(const std::string& word) {
  for (int i = 0; i <= static_cast<int>(SwapOutcome::error); ++i) {
    if (preference::to_string(static_cast<SwapOutcome>(i)) == word) return static_cast<SwapOutcome>(i);
  }
  throw DataError("verdicts-file-outcome", fmt::format("\"{}\" is not an outcome", word));
}

}  // namespace

int human_preference(const preference::Group& group, std::string_view label, int a, int b, double score_gap_min) {
  int stated = 0;
  for (const preference::StatedPair& p : group.pairs) {
    if (p.label != label) continue;
    if (p.winner == a && p.loser == b) ++stated;
    if (p.winner == b && p.loser == a) --stated;
  }
  if (stated != 0) return stated > 0 ? 1 : -1;
  const double gap = score_gap(group, label, a, b);
  if (std::isnan(gap) || gap == 0 || std::abs(gap) < score_gap_min - 1e-9) return 0;
  return gap > 0 ? 1 : -1;
}

void count_bias(VerdictCounts& counts, const Ballot& ballot) {
  if (ballot.first_order == preference::Verdict::first && ballot.second_order == preference::Verdict::first) ++counts.first_both;
  if (ballot.first_order == preference::Verdict::second && ballot.second_order == preference::Verdict::second)
    ++counts.second_both;
}

std::int64_t VerdictCounts::pairs() const { return std::accumulate(outcomes.begin(), outcomes.end(), std::int64_t{0}); }

PointVerdicts read_verdicts(PointQuestions questions, const label_store::LabelStore& store,
                            const std::vector<judge::Judge>& judges, bool by_weight) {
  PointVerdicts verdicts;
  verdicts.target = questions.target();
  for (const judge::Judge& judge : judges) {
    VerdictCounts counts;
    counts.judge = judge.config.model;
    counts.template_name = judge.answer_forms.front().judge_template().id();
    verdicts.judges.push_back(counts);
  }
  std::map<std::size_t, JudgedGroup> groups;
  const auto decide = [&](const Slot& slot, const PairBallots& ballots) {
    if (ballots.skipped || !ballots.complete) {
      ++(ballots.skipped ? verdicts.skipped : verdicts.not_asked);
      return;
    }
    if (ballots.cut) ++verdicts.cut;
    const preference::Group& group = questions.group(slot.group);
    const Target& t = questions.target();
    const int point = data_preference(group, t.point, slot.a, slot.b, t.score_gap_min);
    const int overall = data_preference(group, preference::kOverall, slot.a, slot.b, t.overall_gap_min);
    std::vector<Ballot> all;
    for (std::size_t j = 0; j < judges.size(); ++j) {
      for (const Ballot& ballot : ballots.of_judge[j]) {
        count(verdicts.judges[j], outcome_of(ballot), point, overall);
        count_bias(verdicts.judges[j], ballot);
        all.push_back(ballot);
      }
    }
    const Vote vote = count_votes(all);
    count(verdicts.vote, vote.outcome, point, overall);
    JudgedGroup& judged = groups[slot.group];
    judged.file = group.file;
    judged.line = group.line;
    judged.pairs.push_back({slot.a, slot.b, vote});
  };
  visit_pairs(questions, store, judges, by_weight, decide);
  for (auto& [number, group] : groups) verdicts.groups.push_back(std::move(group));
  return verdicts;
}

void visit_pairs(PointQuestions& questions, const label_store::LabelStore& store, const std::vector<judge::Judge>& judges,
                 bool by_weight, const std::function<void(const Slot&, const PairBallots&)>& decide) {
  std::optional<Slot> last;
  PairBallots ballots;
  for (auto slot = questions.next();; slot = questions.next()) {
    if (last && (!slot || slot->group != last->group || slot->a != last->a || slot->b != last->b)) {
      decide(*last, ballots);
      ballots = {};
    }
    if (!slot) break;
    ballots.of_judge.resize(judges.size());
    std::vector<Ballot>& own = ballots.of_judge[slot->judge];
    if (!slot->swapped)
      own.push_back(
          {preference::Verdict::error, preference::Verdict::error, -1, -1, by_weight ? judges[slot->judge].config.weight : 1.0});
    const LookedUp asked = questions.look_up(*slot, store);
    ballots.cut = ballots.cut || asked.cut;
    ballots.skipped = ballots.skipped || asked.skipped;
    if (asked.answer != nullptr) {
      (slot->swapped ? own.back().second_order : own.back().first_order) = asked.answer->verdict;
      (slot->swapped ? own.back().second_probability : own.back().first_probability) = asked.answer->first_probability;
    } else {
      ballots.complete = false;
    }
    last = slot;
  }
}

void write_verdicts(const PointVerdicts& verdicts, const std::filesystem::path& path) {
  std::string text;
  for (const JudgedGroup& group : verdicts.groups) {
    nlohmann::json pairs = nlohmann::json::array();
    for (const JudgedPair& p : group.pairs) pairs.push_back({p.a, p.b, preference::to_string(p.vote.outcome), p.vote.share});
    text += nlohmann::json{{"file", group.file}, {"line", group.line}, {"pairs", pairs}}.dump() + "\n";
  }
  write_file_atomically(path, text);
}

std::vector<JudgedGroup> read_judged_groups(const std::filesystem::path& path) {
  std::istringstream text(read_file(path));
  std::vector<JudgedGroup> groups;
  std::int64_t number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    try {
      const auto row = nlohmann::json::parse(line);
      JudgedGroup group{row.at("file"), row.at("line"), {}};
      for (const auto& p : row.at("pairs")) {
        JudgedPair judged{p.at(0), p.at(1), {}};
        judged.vote.outcome = outcome_from(p.at(2).get<std::string>());
        judged.vote.share = p.at(3);
        group.pairs.push_back(judged);
      }
      groups.push_back(std::move(group));
    } catch (const nlohmann::json::exception& e) {
      throw DataError("verdicts-file-line",
                      fmt::format("{}:{}: not a line of verdicts: {}", path.string(), number, json_complaint(line, e)));
    }
  }
  return groups;
}

}  // namespace dmoerm::label
