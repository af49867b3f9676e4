// Which pairs of which groups to ask about. Pure functions: the same groups and seed give the same pairs on every machine.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dmoerm::label {

/// Two responses of a group, a < b.
struct ResponsePair {
  int a = 0, b = 0;
  auto operator<=>(const ResponsePair&) const = default;
};

/// A group that there may be questions about. Groups of one id draw the same pairs.
struct GroupSize {
  std::string id;
  int responses = 0;
};

/// A pair of a group.
struct ChosenPair {
  std::size_t group = 0;  ///< index into the groups given
  ResponsePair pair;
  auto operator<=>(const ChosenPair&) const = default;
};

/// All n (n - 1) / 2 pairs of n responses, (0,1), (0,2), ..., (1,2), ...
std::vector<ResponsePair> all_pairs(int responses);

/// `count` pairs of a group, or all if it has no more, drawn by (seed, id) alone: other groups do not matter, and a larger count
/// begins with the pairs of a smaller one. The first n / 2 pairs (rounded up) hold every response; after that too all are asked
/// about equally often, give or take one (two if n is odd).
std::vector<ResponsePair> draw_pairs(std::uint64_t seed, const GroupSize& group, int count);

/// |reward gap| of the pairs of one group by the current expert, in units of its rewards' spread.
using GapTable = std::map<ResponsePair, double>;

/// The pairs that the expert is least sure of, of all groups, at most `pairs_max`, the smallest gap first. Pairs without a gap
/// (or NaN) come last, in drawn order: nothing is known about them. Equal gaps are ordered by the groups' ids and pairs.
/// @param gaps  by group, as many as groups
std::vector<ChosenPair> uncertain_pairs(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                        const std::vector<GapTable>& gaps, std::size_t pairs_max);

/// At most `pairs_max` of the groups' pairs, in the order to ask: one of each group, then a second of each, and so on. In each
/// round the groups' order is drawn anew, by (seed, id, round), so that where the budget ends no group is favoured.
/// @param pairs  by group, in the order to keep them
std::vector<ChosenPair> spread_budget(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                      const std::vector<std::vector<ResponsePair>>& pairs, std::size_t pairs_max);

}  // namespace dmoerm::label
