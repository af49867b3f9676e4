#include "base/error.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>

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
    EXPECT_TRUE(failure.message.ends_with("[file-system-refused]")) << failure.message;
  }
}

TEST(Failure, ReportsAJsonValueWithoutTheLibrarysWords) {
  const nlohmann::json list = nlohmann::json::array();
  const auto said = [](const auto& read) -> std::string {
    try {
      read();
    } catch (const std::exception& e) {
      return failure_of(e).message;
    }
    return "";
  };
  EXPECT_EQ(said([&] { (void)list.get<std::string>(); }),
            "a JSON value cannot be read: expected a value of type string, found array [unexpected-json-value]");
  EXPECT_EQ(
      said([&] { (void)list.at("key"); }),
      "a JSON value cannot be read: expected a value with keys or elements, found one of type array [unexpected-json-value]");
  EXPECT_EQ(said([] { (void)nlohmann::json::object().at("key"); }),
            "a JSON value cannot be read: the key \"key\" is missing [unexpected-json-value]");
}

TEST(Failure, NamesLackOfMemory) {
  const Failure failure = failure_of(std::bad_alloc());
  EXPECT_EQ(failure.exit_code, 1);
  EXPECT_TRUE(failure.message.ends_with("[out-of-memory]")) << failure.message;
}

TEST(Failure, SaysWhatIsInTheWayOfAFolder) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("dmoerm_error_test_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "file") << "x";
  fs::create_symlink(folder / "gone", folder / "link");
  const auto said = [&](const char* path) {
    try {
      fs::create_directories(folder / path);
    } catch (const std::exception& e) {
      return failure_of(e).message;
    }
    return std::string("made");
  };
  EXPECT_NE(said("file/run").find("/file is a file, not a folder [file-system-refused]"), std::string::npos) << said("file/run");
  EXPECT_NE(said("link/run").find("/link is a link to " + (folder / "gone").string() + ", which does not exist"),
            std::string::npos)
      << said("link/run");
  fs::remove_all(folder);
}

TEST(Failure, ReportsAnyOtherExceptionAsABug) {
  const Failure failure = failure_of(std::runtime_error("odd"));
  EXPECT_EQ(failure.exit_code, 1);
  EXPECT_EQ(failure.message, "internal error: odd [internal-error]");
}

}  // namespace
}  // namespace dmoerm
