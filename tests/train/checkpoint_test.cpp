#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "train/run_directory.h"

namespace dmoerm::train {
namespace {

namespace fs = std::filesystem;

class CheckpointFolder : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("dmoerm_checkpoint_" + std::to_string(::getpid()));
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  void save(std::int64_t step) const {
    save_checkpoint(directory_, {step, {{"key", "k"}, {"note", step}}, {{"a", at::full({3}, static_cast<double>(step))}}});
  }
  void damage(const fs::path& file, std::size_t at) const {
    std::string bytes = read_file(file);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    std::ofstream(file, std::ios::binary) << bytes;
  }
  fs::path directory_;
};

TEST_F(CheckpointFolder, GivesBackTheNewestWithItsBitsAndKeepsTwo) {
  for (const std::int64_t step : {10, 20, 9, 30}) save(step);
  const auto loaded = load_checkpoint(directory_, "k");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->step, 30);
  EXPECT_EQ(loaded->state.at("note"), 30);
  EXPECT_TRUE(loaded->tensors.at(0).second.equal(at::full({3}, 30.0F)));
  EXPECT_FALSE(fs::exists(directory_ / "checkpoint-10.safetensors"));
  EXPECT_TRUE(fs::exists(directory_ / "checkpoint-20.safetensors"));
}

TEST_F(CheckpointFolder, SkipsADamagedOneAtAnyByteAndUsesTheOlder) {
  save(1);
  save(2);
  const fs::path file = directory_ / "checkpoint-2.safetensors";
  const std::string whole = read_file(file);
  for (const std::size_t at : {std::size_t{0}, std::size_t{12}, whole.size() / 2, whole.size() - 1}) {
    damage(file, at);
    EXPECT_EQ(load_checkpoint(directory_, "k")->step, 1) << "byte " << at;
    damage(file, at);
  }
  EXPECT_EQ(load_checkpoint(directory_, "k")->step, 2);
  fs::resize_file(file, whole.size() / 2);
  EXPECT_EQ(load_checkpoint(directory_, "k")->step, 1);
  fs::remove(directory_ / "checkpoint-2.json");  // killed before the manifest
  EXPECT_EQ(load_checkpoint(directory_, "k")->step, 1);
}

TEST_F(CheckpointFolder, IsNotUsedForAnotherTask) {
  save(1);
  EXPECT_FALSE(load_checkpoint(directory_, "other"));
  EXPECT_FALSE(load_checkpoint(directory_ / "absent", "k"));
}

TEST_F(CheckpointFolder, ARunDirectoryKnowsWhatIsDoneAndWhatChanged) {
  const RunDirectory run(directory_);
  const TaskIdentity before{{{"lr", 0.1}, {"nested", {{"rank", 4}}}}, {{"input", "abc"}}},
      after{{{"lr", 0.2}, {"nested", {{"rank", 4}}}}, {{"input", "abc"}}};
  EXPECT_FALSE(run.done("base/a", before));
  fs::create_directories(run.task("base/a"));
  write_file_atomically(run.task("base/a") / "out.bin", "content");
  run.complete("base/a", before, {"out.bin"}, {{"accuracy", 0.7}});
  EXPECT_TRUE(run.done("base/a", before));
  EXPECT_FALSE(run.change("base/a", before));
  EXPECT_FALSE(run.done("base/a", after));
  const auto change = run.change("base/a", after);
  ASSERT_TRUE(change);
  EXPECT_EQ(change->differences, std::vector<std::string>{"lr: 0.1 -> 0.2"});
  EXPECT_EQ(run.metrics("base/a").at("accuracy"), 0.7);
  write_file_atomically(run.task("base/a") / "out.bin", "damaged");
  EXPECT_FALSE(run.done("base/a", before));
}

}  // namespace
}  // namespace dmoerm::train
