// A label: what a judge answered to one question, as it is kept.
#pragma once
#include <cstdint>
#include <string>

#include "base/hash.h"
#include "preference/verdict.h"

namespace dmoerm::label_store {

using preference::Verdict;

/// An answer as it is kept.
struct Label {
  Digest key{}, pair{};
  std::string category, point, judge, template_name;
  bool swapped = false;
  std::int32_t sample = 0;
  Verdict verdict = Verdict::error;
  std::string reply;             ///< text of the judge's message, raw; of an error its description
  float first_probability = -1;  ///< of "first" against "second" by the judge's token probabilities; -1 = not known
  std::int32_t prompt_tokens = 0, completion_tokens = 0;
  std::int64_t cost_micros = 0;  ///< millionths of the currency
  std::int64_t time_ms = 0;      ///< since 1970, when it was acknowledged
};

}  // namespace dmoerm::label_store
