#include "nn/safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "nn/safetensors_writer.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;

std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, 'x');
}

std::string refusal(const std::string& bytes) {
  try {
    parse_safetensors_header(bytes, bytes.size(), "f");
    return "";
  } catch (const DataError& e) {
    return e.what();
  }
}

TEST(SafetensorsHeader, RefusesEveryKindOfHostileHeader) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {std::string("abc"), "too few"},
      {std::string("\xfe\xff\xff\xff\xff\xff\xff\x7f", 8) + "{}", "truncated"},
      {file_of("[]", 0), "object"},
      {file_of("{\"a\":", 0), "not JSON"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), "needs 8 bytes"},
      {file_of(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", 4), "F99"},
      {file_of(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "whole numbers"},
      {file_of(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0), "more elements"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), "starts at byte 4"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
               6),
       "overlapping"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5), "the file has 5"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
               8),
       "twice"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "data_offsets"},
      {file_of(R"({"__metadata__":{"a":1}})", 0), "string"},
      {file_of(R"({"__metadata__":[]})", 0), "object"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "another number"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})", 4), "another number"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
               8),
       "overlapping"},
      {std::string("\x00\xe1\xf5\x05\x00\x00\x00\x00", 8) + "{}", "the header claims 100000000 bytes, the file has 10"},
      {file_of("{\"a\":" + std::string(1 << 20, '['), 0), "nested deeper"},
      {file_of("{\"a\":" + std::string(1 << 20, '{'), 0), "nested deeper"},
      {file_of(
           "{\"a\":[0" +
               [] {
                 std::string many;
                 for (int i = 0; i < 4'000'001; ++i) many += ",0";
                 return many;
               }() +
               "]}",
           0),
       "more than 4000000 values"},
  };
  for (const auto& [bytes, expected] : cases) {
    const std::string message = refusal(bytes);
    EXPECT_NE(message.find(expected), std::string::npos) << "wanted \"" << expected << "\", got \"" << message << "\"";
  }
  EXPECT_EQ(refusal(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4)), "");
}

TEST(SafetensorsHeader, SurvivesRandomDamage) {
  const std::string whole = file_of(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}})",
      26);
  Rng rng(20261124);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = whole;
    for (std::uint64_t n = 1 + rng.below(4); n > 0; --n) bytes[rng.below(bytes.size())] = static_cast<char>(rng.below(256));
    if (rng.below(3) == 0) bytes.resize(rng.below(bytes.size()));
    refusal(bytes);  // a DataError or fine; anything else ends the test
  }
}

TEST(Safetensors, LoadsWhatItSavesInEveryDtype) {
  const fs::path file = fs::temp_directory_path() / ("dmoerm_tensors_" + std::to_string(::getpid()));
  at::manual_seed(1);
  NamedTensors tensors;
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16})
    tensors.emplace_back(c10::toString(dtype), at::randn({3, 5}).to(dtype).t());
  tensors.emplace_back("none", at::empty({0, 4}));
  tensors.emplace_back("number", at::scalar_tensor(7, at::kLong));
  save_safetensors(file, tensors, {{"note", "x"}});
  const auto reader = SafetensorsReader::open(file);
  EXPECT_EQ(reader.metadata().at("note"), "x");
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(reader.load(name).equal(tensor)) << name;
  EXPECT_THROW((void)reader.load("absent"), DataError);
  fs::remove(file);
}

TEST(Safetensors, ReadsRowsInAnyOrder) {
  const fs::path file = fs::temp_directory_path() / ("dmoerm_rows_" + std::to_string(::getpid()));
  at::manual_seed(1);
  const at::Tensor states = at::randn({9, 2, 3}), numbers = at::arange(9);
  save_safetensors(file, {{"states", states}, {"numbers", numbers}, {"none", at::empty({0, 4})}});
  const auto reader = SafetensorsReader::open(file);
  for (const std::vector<std::int64_t>& some :
       std::vector<std::vector<std::int64_t>>{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {8, 3, 4, 5, 3, 3, 0}, {}}) {
    const at::Tensor rows = at::tensor(at::ArrayRef<std::int64_t>(some), at::kLong);
    EXPECT_TRUE(reader.rows("states", rows).equal(states.index_select(0, rows))) << some.size();
    EXPECT_TRUE(reader.rows("numbers", rows).equal(numbers.index_select(0, rows))) << some.size();
  }
  EXPECT_EQ(reader.rows("none", at::empty({0}, at::kLong)).sizes(), (std::vector<std::int64_t>{0, 4}));
  EXPECT_THROW((void)reader.rows("absent", at::zeros({1}, at::kLong)), DataError);
  fs::resize_file(file, fs::file_size(file) - 9 * sizeof(std::int64_t));
  EXPECT_TRUE(reader.rows("states", at::arange(9)).equal(states));
  EXPECT_THROW((void)reader.rows("numbers", at::arange(9)), IoError) << "the file became shorter";
  fs::remove(file);
}

class SafetensorsRows : public testing::Test {
 protected:
  SafetensorsRows() { at::manual_seed(1); }
  ~SafetensorsRows() override {
    fs::remove(file_);
    fs::remove(unfinished_);
  }
  /// The bytes of the file that save_safetensors() makes.
  std::string saved() {
    save_safetensors(file_, {{"states", states_}, {"rewards", rewards_}});
    const std::string bytes = read_file(file_);
    fs::remove(file_);
    return bytes;
  }
  void write(SafetensorsWriter& writer, std::int64_t first, std::int64_t count) const {
    writer.write("rewards", first, rewards_.narrow(0, first, count));
    writer.write("states", first, states_.narrow(0, first, count));
  }

  fs::path file_ = fs::temp_directory_path() / ("dmoerm_written_" + std::to_string(::getpid())),
           unfinished_ = file_.string() + ".unfinished";
  at::Tensor states_ = at::randn({20, 3, 5}), rewards_ = at::randn({20, 3}).to(at::kDouble);
  std::vector<TensorLayout> layout_ = {{"states", at::kFloat, {20, 3, 5}}, {"rewards", at::kDouble, {20, 3}}};
};

TEST_F(SafetensorsRows, MakeTheSameFileInPiecesOfAnySize) {
  const std::string whole = saved();
  for (const std::int64_t size : {1, 7, 20}) {
    SafetensorsWriter writer(unfinished_, layout_, false);
    for (std::int64_t first = 20; first > 0;) {  // from the last on
      const std::int64_t count = std::min(size, first);
      first -= count;
      write(writer, first, count);
    }
    EXPECT_FALSE(fs::exists(file_));
    writer.publish(file_);
    EXPECT_EQ(read_file(file_), whole) << size;
    EXPECT_FALSE(fs::exists(unfinished_));
    fs::remove(file_);
  }
}

TEST_F(SafetensorsRows, GoOnInAFileThatWasBegun) {
  const std::string whole = saved();
  EXPECT_FALSE(SafetensorsWriter::is_begun(unfinished_, layout_)) << "there is none";
  {
    SafetensorsWriter writer(unfinished_, layout_, false);
    write(writer, 0, 11);
    writer.flush();
  }
  ASSERT_TRUE(SafetensorsWriter::is_begun(unfinished_, layout_));
  std::vector<TensorLayout> others = layout_;
  others[0].shape[2] = 4;
  EXPECT_FALSE(SafetensorsWriter::is_begun(unfinished_, others)) << "of other tensors";
  {
    SafetensorsWriter writer(unfinished_, layout_, true);
    write(writer, 11, 9);
    writer.publish(file_);
  }
  EXPECT_EQ(read_file(file_), whole);
  fs::rename(file_, unfinished_);
  fs::resize_file(unfinished_, whole.size() - 1);
  EXPECT_FALSE(SafetensorsWriter::is_begun(unfinished_, layout_)) << "too short";
}

TEST_F(SafetensorsRows, StayWhereTheFileCannotBeMoved) {
  const std::string whole = saved();
  fs::create_directories(file_ / "in the way");
  {
    SafetensorsWriter writer(unfinished_, layout_, false);
    write(writer, 0, 20);
    EXPECT_THROW(writer.publish(file_), IoError);
  }
  fs::remove_all(file_);
  ASSERT_TRUE(SafetensorsWriter::is_begun(unfinished_, layout_));
  SafetensorsWriter(unfinished_, layout_, true).publish(file_);
  EXPECT_EQ(read_file(file_), whole);
}

TEST(Safetensors, ReadsShardsAsOneFileAndNamesAMissingOne) {
  const fs::path dir = fs::temp_directory_path() / ("dmoerm_shards_" + std::to_string(::getpid()));
  fs::create_directories(dir);
  save_safetensors(dir / "model-1.safetensors", {{"a", at::ones({2})}});
  save_safetensors(dir / "model-2.safetensors", {{"b", at::zeros({3})}});
  const auto index = [&](const std::string& map) {
    write_file_atomically(dir / "model.safetensors.index.json", "{\"weight_map\":" + map + "}");
  };
  index(R"({"a":"model-1.safetensors","b":"model-2.safetensors"})");
  EXPECT_EQ(SafetensorsReader::open_model(dir).names(), (std::vector<std::string>{"a", "b"}));
  index(R"({"a":"model-1.safetensors","c":"model-2.safetensors"})");
  EXPECT_THROW(SafetensorsReader::open_model(dir), DataError);
  index(R"({"a":"../model-1.safetensors"})");
  EXPECT_THROW(SafetensorsReader::open_model(dir), DataError);
  fs::remove_all(dir);
}

TEST(Safetensors, LeavesNothingAfterAFailedWrite) {
  EXPECT_THROW(save_safetensors("/dev/full/x.safetensors", {{"a", at::ones({2})}}), IoError);
}

}  // namespace
}  // namespace dmoerm::nn
