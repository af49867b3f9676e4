// Brings together the answers to a pair in its two orders.
#pragma once
#include <map>
#include <optional>
#include <tuple>

#include "label/asked_question.h"
#include "label/vote.h"

namespace dmoerm::label {

class PairOrders {
 public:
  struct Pair {
    Ballot ballot;
    bool stored = false;  ///< Whether both answers were stored before they were asked for
  };

  /// Take an answer. @return the pair, if the answer in the other order has come before
  std::optional<Pair> add(const PointSlot& asked, preference::Verdict verdict, bool stored);

 private:
  struct OneOrder {
    preference::Verdict verdict = preference::Verdict::error;
    bool stored = false, swapped = false;
  };
  std::map<std::tuple<std::size_t, std::size_t, int, int, std::size_t, std::int32_t>, OneOrder>
      waiting_;  ///< Pairs whose other order has no answer yet
};

}  // namespace dmoerm::label
