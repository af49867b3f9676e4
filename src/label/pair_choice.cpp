#include "label/pair_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/rng.h"

namespace dmoerm::label {

std::vector<ResponsePair> all_pairs(int responses) {
  std::vector<ResponsePair> pairs;
  for (int a = 0; a < responses; ++a) {
    for (int b = a + 1; b < responses; ++b) pairs.push_back({a, b});
  }
  return pairs;
}

std::vector<ResponsePair> draw_pairs(std::uint64_t seed, const GroupSize& group, int count) {
  const std::int64_t n = group.responses;
  std::vector<ResponsePair> drawn;
  if (n < 2) return drawn;
  // A round-robin tournament: in each round every response is in one pair (if n is odd, all but one are), and over all rounds
  // every two responses meet once. The draw decides the seats.
  std::vector<int> seats(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < seats.size(); ++i) seats[i] = static_cast<int>(i);
  Rng rng(seed, "pairs/" + group.id);
  rng.shuffle(seats);
  if (n % 2 == 1) seats.insert(seats.begin(), -1);  // the response that meets it has no pair in this round
  const std::size_t players = seats.size();
  const auto wanted = static_cast<std::size_t>(std::min<std::int64_t>(std::max(count, 0), n * (n - 1) / 2));
  for (std::size_t round = 0; round + 1 < players && drawn.size() < wanted; ++round) {
    for (std::size_t i = 0; i < players / 2 && drawn.size() < wanted; ++i) {
      const int one = seats[i], two = seats[players - 1 - i];
      if (one >= 0 && two >= 0) drawn.push_back({std::min(one, two), std::max(one, two)});
    }
    std::rotate(seats.begin() + 1, seats.end() - 1, seats.end());
  }
  return drawn;
}

std::vector<ChosenPair> uncertain_pairs(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                        const std::vector<GapTable>& gaps, std::size_t pairs_max) {
  DMOERM_CHECK(gaps.size() == groups.size(), "one table of gaps per group");
  struct Candidate {
    double gap;
    std::size_t drawn;  ///< Number in the group's draw
    ChosenPair chosen;
  };
  std::vector<Candidate> candidates;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::vector<ResponsePair> pairs = draw_pairs(seed, groups[g], std::numeric_limits<int>::max());
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const auto found = gaps[g].find(pairs[i]);
      const bool known = found != gaps[g].end() && !std::isnan(found->second);
      candidates.push_back(
          {known ? std::abs(found->second) : std::numeric_limits<double>::infinity(), known ? 0 : i, {g, pairs[i]}});
    }
  }
  const auto key = [&](const Candidate& c) { return std::tie(c.gap, c.drawn, groups[c.chosen.group].id, c.chosen.pair); };
  std::ranges::sort(candidates, [&](const Candidate& a, const Candidate& b) { return key(a) < key(b); });
  candidates.resize(std::min(candidates.size(), pairs_max));
  std::vector<ChosenPair> result;
  for (const Candidate& candidate : candidates) result.push_back(candidate.chosen);
  return result;
}

std::vector<ChosenPair> add_uncertain_pairs(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                            const std::vector<GapTable>& gaps, std::vector<ChosenPair> kept, int per_group,
                                            std::size_t count) {
  std::vector<int> taken(groups.size(), 0);
  for (const ChosenPair& pair : kept) ++taken[pair.group];
  const std::set<ChosenPair> known(kept.begin(), kept.end());
  for (const ChosenPair& pair : uncertain_pairs(seed, groups, gaps, SIZE_MAX)) {
    if (kept.size() >= count) break;
    if (!known.contains(pair) && taken[pair.group]++ < per_group) kept.push_back(pair);
  }
  return kept;
}

std::vector<ChosenPair> spread_budget(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                      const std::vector<std::vector<ResponsePair>>& pairs, std::size_t pairs_max) {
  DMOERM_CHECK(pairs.size() == groups.size(), "one list of pairs per group");
  std::vector<ChosenPair> result;
  std::vector<std::size_t> left;
  for (std::size_t g = 0; g < groups.size(); ++g) left.push_back(g);
  for (std::size_t round = 0; result.size() < pairs_max; ++round) {
    std::erase_if(left, [&](std::size_t g) { return pairs[g].size() <= round; });
    if (left.empty()) break;
    std::vector<std::tuple<std::uint64_t, std::string_view, std::size_t>> order;
    for (const std::size_t g : left) order.emplace_back(Rng(seed, "budget/" + groups[g].id, round).next(), groups[g].id, g);
    std::ranges::sort(order);
    for (const auto& [draw, id, g] : order) {
      if (result.size() == pairs_max) break;
      result.push_back({g, pairs[g][round]});
    }
  }
  return result;
}

}  // namespace dmoerm::label
