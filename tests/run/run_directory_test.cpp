#include "run/run_directory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "train/checkpoint.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

class RunDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("dmoerm_run_directory_" + std::to_string(::getpid()));
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  fs::path directory_;
};

TEST_F(RunDirectoryTest, TellsWhatChangedSinceATaskWasBegun) {
  const RunDirectory run(directory_);
  const TaskIdentity before{{{"lr", 0.1}}, {}}, after{{{"lr", 0.2}}, {}};
  const train::Checkpoint begun{3, {}, {{"key", before.key()}, {"settings", before.settings}}, {{"a", at::zeros({3})}}};
  train::save_checkpoint(run.task("base/b"), begun, 2);
  EXPECT_FALSE(run.change("base/b", before));
  ASSERT_TRUE(run.change("base/b", after));
  EXPECT_EQ(run.change("base/b", after)->differences, std::vector<std::string>{"lr: 0.1 -> 0.2"});
}

TEST_F(RunDirectoryTest, KnowsWhatIsDoneAndWhatChanged) {
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

TEST_F(RunDirectoryTest, SaysThatAnotherVersionMadeATaskInsteadOfListingEverySetting) {
  const RunDirectory run(directory_);
  const TaskIdentity old{{{"trains", "all"}, {"wire", "float32"}}, {}}, now{{{"tuning", "full"}}, {}};
  run.complete("base/a", old, {}, {});
  const fs::path manifest = run.task("base/a") / "manifest.json";
  nlohmann::json written = read_json(manifest);
  EXPECT_EQ(written.at("schema"), kIdentitySchema);
  written.erase("schema");
  write_json_atomically(manifest, written);
  ASSERT_TRUE(run.change("base/a", now));
  EXPECT_EQ(run.change("base/a", now)->differences,
            std::vector<std::string>{"schema of the identity: 1 -> 2 (another version of dmoerm made it)"});
}

}  // namespace
}  // namespace dmoerm::run
