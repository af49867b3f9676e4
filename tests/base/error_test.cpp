#include "base/error.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace dmoerm {
namespace {

TEST(Failure, ReportsAnErrorWithItsOwnCodeAndMessage) {
  EXPECT_EQ(failure_of(ConfigError("a")).exit_code, 2);
  EXPECT_EQ(failure_of(NumericError("loss became NaN")).exit_code, 2) << "it comes from data or settings";
  EXPECT_EQ(failure_of(CommError("a")).exit_code, 1);
  EXPECT_EQ(failure_of(Stopped("a")).exit_code, 3);
  EXPECT_EQ(failure_of(DataError("file:3: expected x, found y")).message, "file:3: expected x, found y");
}

TEST(Failure, ReportsARefusedFileSystemCallAsAnInputError) {
  try {
    std::filesystem::create_directories("/proc/no_such_place/runs");
    FAIL() << "the kernel made a folder in /proc";
  } catch (const std::exception& e) {
    const Failure failure = failure_of(e);
    EXPECT_EQ(failure.exit_code, 2);
    EXPECT_TRUE(failure.message.starts_with("cannot create directories: ")) << failure.message;
    EXPECT_NE(failure.message.find("/proc/no_such_place"), std::string::npos) << failure.message;
    EXPECT_EQ(failure.message.find("internal error"), std::string::npos) << failure.message;
  }
}

TEST(Failure, ReportsAnyOtherExceptionAsABug) {
  const Failure failure = failure_of(std::runtime_error("odd"));
  EXPECT_EQ(failure.exit_code, 1);
  EXPECT_EQ(failure.message, "internal error: odd");
}

}  // namespace
}  // namespace dmoerm
