#include "watch/tensorboard.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "support/scratch.h"

namespace dmoerm::watch {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using TensorBoard = test::Scratch;

json lines(int count, double loss = 0.5) {
  json history = json::array();
  for (int i = 0; i < count; ++i)
    history.push_back({{"step", 10 * i},
                       {"train_loss", loss / (1 + i)},
                       {"validation_accuracy", 0.5 + 0.01 * i},
                       {"seconds", 0.1 * i},
                       {"task", "x"}});
  return history;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

TEST(Crc32c, GivesTheValuesOfRfc3720) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
}

TEST_F(TensorBoard, WritesTheSameFileStepByStepAndAtOnce) {
  write_tensorboard(directory_ / "once", lines(20), 1000);
  for (int n = 1; n <= 20; ++n) write_tensorboard(directory_ / "grown", lines(n), 1000);
  ASSERT_EQ(files_in(directory_ / "grown").size(), 1U);
  EXPECT_EQ(read_file(files_in(directory_ / "grown")[0]), read_file(files_in(directory_ / "once")[0]));
}

TEST_F(TensorBoard, AddsNothingTwiceWhenARunResumes) {
  write_tensorboard(directory_, lines(20), 1000);
  const auto file = files_in(directory_).at(0);
  const std::string whole = read_file(file);
  json again = lines(20);
  for (json& line : again) line["seconds"] = 77;  // the time is measured again
  for (const int resumed : {1, 7, 20}) {
    write_tensorboard(directory_, json(again.begin(), again.begin() + resumed), 2000);
    EXPECT_EQ(read_file(file), whole);
  }
}

TEST_F(TensorBoard, RepairsAFileTornAfterAnyByte) {
  write_tensorboard(directory_, lines(3), 1000);
  const auto file = files_in(directory_).at(0);
  const std::string whole = read_file(file);
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    std::ofstream(file, std::ios::binary) << whole.substr(0, cut);
    write_tensorboard(directory_, lines(3), 1000);
    const auto files = files_in(directory_);
    ASSERT_EQ(files.size(), 1U) << cut;
    ASSERT_EQ(read_file(files[0]), whole) << cut;
    if (files[0] != file) fs::rename(files[0], file);
  }
}

TEST_F(TensorBoard, ReplacesAFileOfAnotherHistoryUnderANewName) {
  write_tensorboard(directory_, lines(5), 1000);
  const auto before = files_in(directory_).at(0);
  write_tensorboard(directory_, lines(5, 0.7), 1000);
  const auto after = files_in(directory_);
  ASSERT_EQ(after.size(), 1U);
  EXPECT_NE(after[0], before);
}

}  // namespace
}  // namespace dmoerm::watch
