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

/// The inputs of an infer request, of at most `elements_max` elements each.
/// @param binary  what follows the JSON
/// @throws RequestError for a datatype, shape or length that does not fit
std::vector<Tensor> tensors_of(const JsonPart& body, std::string_view binary, std::size_t elements_max);

}  // namespace dmoerm::wire
