// What the labeller keeps of a question between sending it and storing its answer.
#pragma once
#include <cstddef>
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "judge/judge.h"
#include "judge/question.h"
#include "judge/usage.h"
#include "label/point_questions.h"

namespace dmoerm::label {

struct KeyHash {
  std::size_t operator()(const Digest& key) const {
    std::size_t value = 0;
    std::memcpy(&value, key.data(), sizeof value);
    return value;
  }
};

/// A slot of one of the points.
struct PointSlot {
  std::size_t point = 0;
  Slot slot;
};

/// A question that can be sent, or was sent.
struct Asked : PointSlot {
  std::size_t answer_form = 0;
  judge::BuiltQuestion built;  ///< Its body is empty once it is sent
  judge::Usage max_cost;
  int repeated = 0;                ///< Repeated tries that may have been charged
  std::vector<PointSlot> waiting;  ///< Other slots with the same question
};

/// What is reserved for a question and its repeated tries.
inline judge::Usage reserved_for(const Asked& asked) {
  judge::Usage reserved = asked.max_cost;
  for (int i = 0; i < asked.repeated; ++i) reserved += asked.max_cost;
  return reserved;
}

/// Set the most that a question can cost to what is known now. @return what must be reserved in addition
inline judge::Usage raise_cost(Asked& asked, const judge::Judge& judge) {
  const judge::Usage before = reserved_for(asked);
  asked.max_cost = judge.max_cost(asked.built);
  judge::Usage more = reserved_for(asked);
  more -= before;
  return more;
}

}  // namespace dmoerm::label
