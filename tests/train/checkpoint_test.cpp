#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

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

  static Checkpoint checkpoint(std::int64_t step) {
    return {step, {{"note", step}}, {{"key", "k"}}, {{"a", at::full({3}, static_cast<double>(step))}}};
  }
  void save(std::int64_t step, int kept = 2) const { save_checkpoint(directory_, checkpoint(step), kept); }
  [[nodiscard]] std::int64_t found() const {
    const auto reader = find_checkpoint(directory_, "k");
    return reader ? reader->step() : -1;
  }
  void damage(const fs::path& file, std::size_t at) const {
    std::string bytes = read_file(file);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    std::ofstream(file, std::ios::binary) << bytes;
  }
  fs::path directory_;
};

TEST_F(CheckpointFolder, FindsTheNewestBitForBitAndKeepsTwo) {
  for (const std::int64_t step : {9, 10, 20, 30}) save(step);
  const auto loaded = find_checkpoint(directory_, "k");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->step(), 30);
  EXPECT_EQ(loaded->state().at("note"), 30);
  EXPECT_TRUE(loaded->load("a").equal(at::full({3}, 30.0F)));
  EXPECT_TRUE(loaded->load("a", 1, 3).equal(at::full({2}, 30.0F)));
  EXPECT_FALSE(fs::exists(directory_ / "checkpoint-10.safetensors"));
  EXPECT_TRUE(fs::exists(directory_ / "checkpoint-20.safetensors"));
  save(40, 4);
  EXPECT_TRUE(fs::exists(directory_ / "checkpoint-20.safetensors")) << "four are kept";
}

TEST_F(CheckpointFolder, ForgetsStepsBehindWhichTrainingWentBack) {  // a second try of failed experts, a damaged checkpoint
  for (const std::int64_t step : {10, 20, 12}) save(step);
  EXPECT_EQ(found(), 12);
  EXPECT_TRUE(fs::exists(directory_ / "checkpoint-10.json"));
  EXPECT_FALSE(fs::exists(directory_ / "checkpoint-20.json"));
}

TEST_F(CheckpointFolder, SkipsACheckpointDamagedAtAnyByteForAnOlderOne) {
  save(1);
  save(2);
  for (const char* name : {"checkpoint-2.safetensors", "checkpoint-2.json"}) {
    const fs::path file = directory_ / name;
    const std::size_t size = read_file(file).size();
    for (std::size_t at = 0; at < size; ++at) {
      damage(file, at);
      EXPECT_EQ(found(), 1) << name << " byte " << at;
      damage(file, at);
    }
    EXPECT_EQ(found(), 2);
  }
  const fs::path file = directory_ / "checkpoint-2.safetensors";
  for (std::uintmax_t size = fs::file_size(file); size > 0; size /= 2) {
    fs::resize_file(file, size - 1);
    EXPECT_EQ(found(), 1) << "cut to " << size - 1 << " bytes";
  }
  fs::remove(directory_ / "checkpoint-2.json");  // as if killed before writing the manifest
  EXPECT_EQ(found(), 1);
}

TEST_F(CheckpointFolder, IgnoresCheckpointsOfAnotherTask) {
  save(1);
  EXPECT_FALSE(find_checkpoint(directory_, "other"));
  EXPECT_FALSE(find_checkpoint(directory_ / "absent", "k"));
}

TEST_F(CheckpointFolder, RefusesAnotherSchemaNamingBoth) {
  save(1);
  const fs::path file = directory_ / "checkpoint-1.json";
  nlohmann::json manifest = read_json(file);
  manifest["schema"] = 1;
  manifest.erase("manifest_sha256");
  manifest["manifest_sha256"] = sha256_hex(manifest.dump());
  write_json_atomically(file, manifest);
  try {
    (void)found();
    FAIL() << "a checkpoint of another schema was read";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("schema 1, this program reads schema 2"), std::string::npos) << e.what();
  }
}

TEST_F(CheckpointFolder, WritesACopyWhileTheTensorsChange) {
  at::Tensor values = at::full({1 << 20}, 1.0);
  Checkpoint taken = checkpoint(5);
  taken.tensors = {{"a", values}};
  CheckpointWriter writer(directory_, 2);
  writer.start(std::move(taken));
  values.fill_(2.0);
  writer.wait();
  EXPECT_TRUE(find_checkpoint(directory_, "k")->load("a").equal(at::full({1 << 20}, 1.0F)));
}

TEST_F(CheckpointFolder, ReadsPartsOfSeveralRanksAsOneOnAnyNumberOfRanks) {
  const at::Tensor whole = at::arange(10, at::kFloat);
  const auto save_shard = [&](int shard) {
    Checkpoint own = checkpoint(7);
    own.shard = shard;
    own.shards = 3;
    const std::int64_t begin = shard * 4, end = std::min<std::int64_t>(10, begin + 4);
    own.tensors = {{"m", whole.slice(0, begin, end), begin, 10}};
    save_checkpoint(directory_, own, 2);
  };
  save(6);
  save_shard(0);
  save_shard(2);
  EXPECT_EQ(found(), 6) << "one shard is missing";
  save_shard(1);
  const auto reader = find_checkpoint(directory_, "k");
  ASSERT_EQ(reader->step(), 7);
  EXPECT_TRUE(reader->load("m").equal(whole));
  for (std::int64_t begin = 0; begin < 10; ++begin) {
    for (std::int64_t end = begin + 1; end <= 10; ++end)
      EXPECT_TRUE(reader->load("m", begin, end).equal(whole.slice(0, begin, end))) << begin << " to " << end;
  }
  damage(directory_ / "checkpoint-7-2of3.safetensors", 100);
  EXPECT_EQ(found(), 6);
}

TEST_F(CheckpointFolder, ListsTheProblemOfEveryUnreadableCheckpoint) {
  save(1);
  save(2);
  damage(directory_ / "checkpoint-2.safetensors", 20);
  const auto infos = list_checkpoints(directory_);
  ASSERT_EQ(infos.size(), 2U);
  EXPECT_EQ(infos[0].step, 2);
  EXPECT_NE(infos[0].problem.find("checksum"), std::string::npos) << infos[0].problem;
  EXPECT_EQ(infos[1].problem, "");
}

}  // namespace
}  // namespace dmoerm::train
