// Tensors of KServe v2, in JSON and in the binary form that follows it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wire/json_part.h"

namespace dmoerm::wire {

/// One input, laid out row by row. Either `texts` or `numbers` is filled.
struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<std::string> texts;     ///< BYTES
  std::vector<std::int64_t> numbers;  ///< integers
  JsonPart place;                     ///< the input in the body
};

/// An input that a client may send: either "sentences", or "tokens" with "sequence_lengths", or "prompts" with "responses".
struct KnownInput {
  std::string_view name;
  bool texts;  ///< BYTES; else integers
};
inline constexpr KnownInput kInputs[] = {
    {"sentences", true}, {"tokens", false}, {"sequence_lengths", false}, {"prompts", true}, {"responses", true}};

/// The known inputs of an infer request, of at most `elements_max` elements each.
/// @param binary  what follows the JSON
/// @param unknown  gets the names of the other inputs, whose data are passed over
/// @throws RequestError for a datatype, shape or length that does not fit, and for an input that comes twice
std::vector<Tensor> tensors_of(const JsonPart& body, std::string_view binary, std::size_t elements_max,
                               std::vector<std::string>& unknown);

}  // namespace dmoerm::wire
