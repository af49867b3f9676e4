// What names a question, and with it the label that answers it.
#pragma once
#include <cstdint>
#include <string>

#include "base/hash.h"

namespace dmoerm::judge {

struct QuestionId {
  Digest key{};                 ///< SHA-256 of the request's body; for samples after the first the sample number is hashed in too
  Digest pair{};                ///< SHA-256 over prompt and both texts in the data's order: equal for both orders of a pair
  std::string category, point;  ///< E.g. summarization, coherence
  std::string judge;            ///< Model name as sent
  std::string template_name;    ///< JudgeTemplate::id(): "pairwise-en@3f9c01d2a4b7"
  bool swapped = false;         ///< Whether response b is shown first
  std::int32_t sample = 0;      ///< Number of the repetition in this order, from 0
};

}  // namespace dmoerm::judge
