#include "nn/safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"

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
