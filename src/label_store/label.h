// A label: what a judge answered to one question, as it is stored.
#pragma once
#include <cstdint>
#include <string>

#include "judge/question_id.h"
#include "preference/verdict.h"

namespace dmoerm::label_store {

using preference::Verdict;

struct Label : judge::QuestionId {
  Verdict verdict = Verdict::error;
  std::string reply;             ///< Raw text of the judge's message; for an error its description
  float first_probability = -1;  ///< Probability of "first" against "second" by the judge's tokens; -1 = not known
  std::int32_t prompt_tokens = 0, completion_tokens = 0;
  std::int64_t cost_micros = 0;  ///< Millionths of the currency
  std::int64_t time_ms = 0;      ///< Milliseconds since 1970 at which the answer came
};

}  // namespace dmoerm::label_store
