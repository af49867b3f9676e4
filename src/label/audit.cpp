#include "label/audit.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/hash.h"
#include "base/rng.h"
#include "label/pair_choice.h"
#include "preference/session_key.h"

namespace dmoerm::label {
namespace {

using Pair = std::pair<int, int>;

/// Pairs that a label orders, by group, in the order to take them.
struct Candidates {
  std::vector<GroupPairs> groups;

  void add(std::size_t group, std::vector<Pair> pairs, std::int64_t most) {
    if (!pairs.empty() && std::ssize(groups) < most) groups.push_back({group, std::move(pairs)});
  }
  /// Pair number `n`, if one of each group comes first, then a second of each. @return nothing after the last
  std::optional<std::pair<std::size_t, Pair>> take() {
    while (round_ < longest()) {
      while (next_ < groups.size() && groups[next_].pairs.size() <= round_) ++next_;
      if (next_ < groups.size()) {
        const GroupPairs& group = groups[next_++];
        return std::pair(group.group, group.pairs[round_]);
      }
      ++round_;
      next_ = 0;
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::size_t longest() const {
    std::size_t most = 0;
    for (const GroupPairs& group : groups) most = std::max(most, group.pairs.size());
    return most;
  }
  std::size_t round_ = 0, next_ = 0;
};

/// The groups that a point's pairs may be drawn from, in drawn order; those that the labelling asks about first. Each point has
/// an order of its own, so that all points together see many prompts.
std::vector<std::size_t> drawn_groups(const config::RunConfig& config, const GroupFile& file, const Target& target,
                                      const std::vector<bool>& read, const std::set<std::size_t>& first) {
  const std::uint64_t draw = mix64(config.seed) ^ stable_hash(target.point);
  std::vector<std::size_t> groups = file.of(target.category, config.labels.splits);
  std::erase_if(groups, [&](std::size_t g) { return !read[g] || file.entries()[g].split == preference::Split::test; });
  const auto rank = [&](std::size_t g) {
    return std::tuple(!first.contains(g), mix64(stable_hash(file.entries()[g].id) ^ draw), g);
  };
  std::ranges::sort(groups, {}, rank);
  return groups;
}

/// A group's pairs in drawn order; those that the labelling asks about first.
std::vector<Pair> drawn_pairs(const config::RunConfig& config, const preference::Group& group, const std::set<Pair>& first) {
  const auto responses = static_cast<int>(group.responses.size());
  std::vector<Pair> pairs;
  for (const ResponsePair& p : draw_pairs(config.seed, {group.id, responses}, responses * (responses - 1) / 2))
    pairs.emplace_back(p.a, p.b);
  std::ranges::stable_sort(pairs, {}, [&](const Pair& p) { return !first.contains(p); });
  return pairs;
}

std::vector<Pair> ordered(const preference::Group& group, std::vector<Pair> pairs, std::string_view label, double gap_min) {
  std::erase_if(pairs, [&](const Pair& p) { return human_preference(group, label, p.first, p.second, gap_min) == 0; });
  return pairs;
}

/// The pairs of a target that the labelling asks about, by group.
std::map<std::size_t, std::set<Pair>> by_group(const std::vector<GroupPairs>& pairs) {
  std::map<std::size_t, std::set<Pair>> groups;
  for (const GroupPairs& g : pairs) groups[g.group].insert(g.pairs.begin(), g.pairs.end());
  return groups;
}

void add_pair(std::vector<GroupPairs>& pairs, std::size_t group, const Pair& pair) {
  auto place = std::ranges::find(pairs, group, &GroupPairs::group);
  if (place == pairs.end()) place = pairs.insert(place, {group, {}});
  place->pairs.push_back(pair);
}

/// The targets' numbers: the first point of each category, then the second of each, so that few pairs reach every category.
std::vector<std::size_t> in_turn(const std::vector<Target>& targets) {
  std::vector<std::size_t> numbers(targets.size()), turn;
  std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  std::map<std::string, std::size_t> points;
  for (const Target& target : targets) turn.push_back(points[target.category]++);
  std::ranges::stable_sort(numbers, {}, [&](std::size_t i) { return turn[i]; });
  return numbers;
}

void compare(AuditCounts& counts, std::uint64_t prompt, preference::SwapOutcome outcome, int human) {
  ++counts.verdicts.outcomes[static_cast<std::size_t>(outcome)];
  if (outcome != preference::SwapOutcome::first && outcome != preference::SwapOutcome::second) return;
  const bool right = (outcome == preference::SwapOutcome::first) == (human > 0);
  counts.prompts.push_back({prompt, {right ? 1 : 0, 1}});
}

}  // namespace

std::vector<AuditedPairs> draw_audit(const config::RunConfig& config, GroupFile& groups, const std::vector<Target>& targets,
                                     const std::vector<std::vector<GroupPairs>>& asked, const std::vector<bool>& read,
                                     std::int64_t pairs) {
  const bool hardest = config.labels.pairs.choose == config::PairChoice::uncertain;
  std::vector<AuditedPairs> audited;
  std::vector<Candidates> candidates;
  std::vector<std::map<std::size_t, std::set<Pair>>> planned;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const Target& target = targets[t];
    planned.push_back(by_group(asked[t]));
    std::set<std::size_t> first;
    for (const auto& [group, its_pairs] : planned[t]) {
      if (!hardest) first.insert(group);
    }
    Candidates by_point, by_overall;
    for (const std::size_t number : drawn_groups(config, groups, target, read, first)) {
      const preference::Group group = groups.read(number);
      const std::vector<Pair> drawn =
          drawn_pairs(config, group, first.contains(number) ? planned[t].at(number) : std::set<Pair>{});
      by_point.add(number, ordered(group, drawn, target.point, target.score_gap_min), pairs);
      by_overall.add(number, ordered(group, drawn, preference::kOverall, target.overall_gap_min), pairs);
      if (std::ssize(by_point.groups) == pairs) break;  // more are never taken
    }
    const bool own = !by_point.groups.empty();
    candidates.push_back(std::move(own ? by_point : by_overall));
    audited.push_back({.target = target, .by_point = own});
  }
  const std::vector<std::size_t> turns = in_turn(targets);
  for (bool any = true; any && pairs > 0;) {
    any = false;
    for (const std::size_t t : turns) {
      const auto pair = pairs > 0 ? candidates[t].take() : std::nullopt;
      if (!pair) continue;
      any = true;
      --pairs;
      add_pair(audited[t].pairs, pair->first, pair->second);
      const auto plan = planned[t].find(pair->first);
      if (plan != planned[t].end() && plan->second.contains(pair->second)) ++audited[t].asked_anyway;
    }
  }
  return audited;
}

Agreement AuditCounts::agreement() const {
  Agreement sum;
  for (const PromptAgreement& p : prompts) {
    sum.right += p.agreement.right;
    sum.total += p.agreement.total;
  }
  return sum;
}

AuditCounts& AuditCounts::operator+=(const AuditCounts& other) {
  for (std::size_t i = 0; i < verdicts.outcomes.size(); ++i) verdicts.outcomes[i] += other.verdicts.outcomes[i];
  verdicts.first_both += other.verdicts.first_both;
  verdicts.second_both += other.verdicts.second_both;
  prompts.insert(prompts.end(), other.prompts.begin(), other.prompts.end());
  return *this;
}

AuditResult read_audit(const AuditedPairs& about, GroupFile& groups, const label_store::LabelStore& store,
                       const std::vector<judge::Judge>& judges, const config::LabelsConfig& config) {
  AuditResult result;
  result.about = about;
  for (const judge::Judge& judge : judges) {
    AuditCounts counts;
    counts.verdicts.judge = judge.config.model;
    result.judges.push_back(std::move(counts));
  }
  const std::string label = about.compared_with();
  const double gap_min = about.by_point ? about.target.score_gap_min : about.target.overall_gap_min;
  PointQuestions questions(about.target, groups, judges, about.pairs, static_cast<std::int32_t>(config.samples));
  const bool by_weight = config.vote == config::Vote::weights;
  visit_pairs(questions, store, judges, by_weight, [&](const Slot& slot, const PairBallots& ballots) {
    if (ballots.skipped || !ballots.complete) {
      ++(ballots.skipped ? result.skipped : result.not_asked);
      return;
    }
    const preference::Group& group = questions.group(slot.group);
    const std::uint64_t prompt = preference::session_key(group.prompt);
    const int human = human_preference(group, label, slot.a, slot.b, gap_min);
    std::vector<Ballot> all;
    for (std::size_t j = 0; j < judges.size(); ++j) {
      for (const Ballot& ballot : ballots.of_judge[j]) {
        compare(result.judges[j], prompt, outcome_of(ballot), human);
        count_bias(result.judges[j].verdicts, ballot);
        all.push_back(ballot);
      }
    }
    compare(result.vote, prompt, count_votes(all).outcome, human);
  });
  return result;
}

}  // namespace dmoerm::label
