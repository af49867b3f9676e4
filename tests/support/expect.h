// Checks for test programs that run under a launcher, without GoogleTest.
#pragma once
#include <fmt/format.h>

#include <string>

namespace dmoerm::test {

inline int failures = 0;  ///< number of failed checks in this process

inline void expect(bool good, const std::string& what) {
  if (good) return;
  ++failures;
  fmt::print(stderr, "FAILED: {}\n", what);
}

}  // namespace dmoerm::test
