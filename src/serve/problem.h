// What went wrong, for a reply that has the code beside the words.
#pragma once
#include <exception>
#include <string>

#include "base/error.h"

namespace dmoerm::serve {

struct Problem {
  ErrorCode code;
  std::string words;  ///< without the code
};
Problem problem_of(const std::exception& e);

}  // namespace dmoerm::serve
