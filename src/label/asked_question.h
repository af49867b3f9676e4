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
  int repeated = 0;                ///< Repeated tries after one that may have been charged
  int resent = 0;                  ///< Repeated tries after one that was not
  bool out_of_budget = false;      ///< Whether a limit forbids to repeat it now
  std::int64_t requests = 1;       ///< Once it is answered: tries that count as requests
  std::vector<PointSlot> waiting;  ///< Other slots with the same question
};

}  // namespace dmoerm::label
