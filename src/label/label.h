// What is asked of a judge and what it said: the words that the question builder, the client, the store and the labeller share.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/hash.h"

namespace dmoerm::label {

/// What one reply says about the two responses in the order they were shown.
enum class Verdict : std::uint8_t { first = 0, second = 1, tie = 2, unparsable = 3, refused = 4, error = 5 };

/// "first", "second", "tie", "unparsable", "refused", "error": the words of pair::check_swap().
std::string_view to_string(Verdict verdict);
/// @throws DataError for another word
Verdict verdict_from(std::string_view word);

/// One question to one judge: a pair of responses under one capability point in one order. `key` names it for ever.
struct Question {
  std::string category, point;  ///< e.g. summarization, coherence
  std::string judge;            ///< model name as sent
  std::string template_name;    ///< of configs/judge, with the first 12 hex digits of its hash: "pairwise-en@3f9c01d2a4b7"
  Digest pair{};                ///< sha256 over prompt and both texts in the data's order: equal for both orders of a pair
  bool swapped = false;         ///< response b is shown first
  std::int32_t sample = 0;      ///< 0 .. samples - 1 of this order
  std::string body;             ///< exactly what is sent: the canonical JSON of the chat completion request, without credentials
  Digest key{};                 ///< sha256(body); with sample > 0 the sample number is hashed in too
};

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

}  // namespace dmoerm::label
