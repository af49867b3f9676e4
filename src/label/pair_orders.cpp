#include "label/pair_orders.h"

#include <utility>

namespace dmoerm::label {

std::optional<PairOrders::Pair> PairOrders::add(const PointSlot& asked, preference::Verdict verdict, bool stored) {
  const Slot& s = asked.slot;
  const auto [other, alone] =
      waiting_.try_emplace({asked.point, s.group, s.a, s.b, s.judge, s.sample}, OneOrder{verdict, stored, s.swapped});
  if (alone || other->second.swapped == s.swapped) return std::nullopt;
  Pair pair{{verdict, other->second.verdict}, stored && other->second.stored};
  if (s.swapped) std::swap(pair.ballot.first_order, pair.ballot.second_order);
  waiting_.erase(other);
  return pair;
}

}  // namespace dmoerm::label
