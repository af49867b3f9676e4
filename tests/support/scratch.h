// A temporary folder for a test, which is removed afterwards.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace dmoerm::test {

class Scratch : public testing::Test {
 protected:
  Scratch() : directory_(std::filesystem::temp_directory_path() / ("dmoerm_test_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~Scratch() override { std::filesystem::remove_all(directory_); }

  /// Write a file. @return its path
  [[nodiscard]] std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name, std::ios::binary) << text;
    return (directory_ / name).string();
  }

  std::filesystem::path directory_;
};

/// The message of the `Wanted` that `work` throws, or "" if it throws none.
template <class Wanted, class Work>
std::string message_of(const Work& work) {
  try {
    work();
  } catch (const Wanted& e) {
    return e.what();
  }
  return "";
}

}  // namespace dmoerm::test
