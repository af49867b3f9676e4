// Tests on reference data that are not in the repository.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

/// Skip a test whose reference data are missing. If DMOERM_REQUIRE_SHARED is set (on machines that should have them), the test
/// fails instead, so that no test is skipped unnoticed.
#define DMOERM_NEEDS(path)                                                                        \
  if (!std::filesystem::exists(path)) {                                                           \
    if (std::getenv("DMOERM_REQUIRE_SHARED") != nullptr) FAIL() << (path) << " is required here"; \
    GTEST_SKIP() << "skipped: the reference data are missing: " << (path);                        \
  }                                                                                               \
  static_assert(true)
