// Tests on reference data that lies outside of the repository.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

/// Skips a test whose reference data is not there. Where DMOERM_REQUIRE_SHARED is set (a machine that should have it) the test
/// fails instead: nothing passes unseen.
#define DMOERM_NEEDS(path)                                                                        \
  if (!std::filesystem::exists(path)) {                                                           \
    if (std::getenv("DMOERM_REQUIRE_SHARED") != nullptr) FAIL() << (path) << " is required here"; \
    GTEST_SKIP() << "skipped: no ../shared, or no " << (path);                                    \
  }                                                                                               \
  static_assert(true)
