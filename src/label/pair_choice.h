// Chooses which pairs of which groups are asked about. Pure functions: the same groups and seed give the same pairs everywhere.
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

/// A group whose pairs may be asked about. Groups with the same id draw the same pairs.
struct GroupSize {
  std::string id;
  int responses = 0;
};

/// A pair of one group.
struct ChosenPair {
  std::size_t group = 0;  ///< Index into the given groups
  ResponsePair pair;
  auto operator<=>(const ChosenPair&) const = default;
};

/// All n (n - 1) / 2 pairs of n responses, (0,1), (0,2), ..., (1,2), ...
std::vector<ResponsePair> all_pairs(int responses);

/// `count` pairs of a group, or all if it has fewer. The draw depends on (seed, id) alone, not on other groups, and a larger
/// count begins with the pairs of a smaller one. The first n / 2 pairs (rounded up) contain every response, and at any count the
/// numbers of pairs per response differ by at most one (two if n is odd).
std::vector<ResponsePair> draw_pairs(std::uint64_t seed, const GroupSize& group, int count);

/// Reward gap of the pairs of one group by the current expert, in units of the standard deviation of its rewards. Its sign does
/// not count.
using GapTable = std::map<ResponsePair, double>;

/// The pairs over all groups of which the expert is least sure, at most `pairs_max`, the smallest gap first. Pairs without a gap
/// (or with NaN) come last, in drawn order. Equal gaps are ordered by the groups' ids and pairs.
/// @param gaps  one table per group
std::vector<ChosenPair> uncertain_pairs(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                        const std::vector<GapTable>& gaps, std::size_t pairs_max);

/// `kept`, and after them the pairs of which the expert is least sure, in the order of uncertain_pairs(), until there are `count`
/// in all. A group has at most `per_group` of them; kept pairs count.
std::vector<ChosenPair> add_uncertain_pairs(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                            const std::vector<GapTable>& gaps, std::vector<ChosenPair> kept, int per_group,
                                            std::size_t count);

/// At most `pairs_max` of the groups' pairs, in the order to ask: one of each group, then a second of each, and so on. The
/// groups' order is drawn again for each round, by (seed, id, round), so that no group is favoured where the budget ends.
/// @param pairs  pairs by group, in the order to take them
std::vector<ChosenPair> spread_budget(std::uint64_t seed, const std::vector<GroupSize>& groups,
                                      const std::vector<std::vector<ResponsePair>>& pairs, std::size_t pairs_max);

}  // namespace dmoerm::label
