// What went wrong, for a reply that has the code beside the words.
#pragma once
#include <exception>
#include <string>

#include "base/error.h"

namespace dmoerm::serve {

/// What clients are told of a server that ends.
inline constexpr const char* kStopping = "the server is stopping: ask another, or try again later";

struct Problem {
  ErrorCode code;
  std::string words;  ///< without the code
};
Problem problem_of(const std::exception& e);

}  // namespace dmoerm::serve
