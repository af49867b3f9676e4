// Where tests find reference data: numbers of other programs in tests/golden, larger data outside of the repository.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

/// Skip a test whose reference data are missing. If DMOERM_REQUIRE_SHARED is set (on machines that should have them), the test
/// fails instead, so that no test is skipped unnoticed.
#define DMOERM_NEEDS(path)                                                                        \
  if (!std::filesystem::exists(path)) {                                                           \
    if (std::getenv("DMOERM_REQUIRE_SHARED") != nullptr) FAIL() << (path) << " is required here"; \
    GTEST_SKIP() << "skipped: the reference data are missing: " << (path);                        \
  }                                                                                               \
  static_assert(true)

namespace dmoerm::test {

/// A golden file or folder: the one in the repository, else the one of the reference data, which has more models.
inline std::filesystem::path golden(const std::string& name) {
  const std::filesystem::path own = std::filesystem::path(DMOERM_SOURCE) / "tests/golden" / name;
  return std::filesystem::exists(own) ? own : std::filesystem::path(DMOERM_SHARED) / "golden" / name;
}

}  // namespace dmoerm::test
