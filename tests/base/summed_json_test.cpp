#include "base/summed_json.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hash.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TEST(SummedJson, NoticesEveryChangeButThatOfTheLayout) {
  const fs::path file = fs::temp_directory_path() / ("dmoerm_summed_" + std::to_string(::getpid()) + ".json");
  const json value = {{"std", 0.25}, {"z", {{"text", "says \"manifest_sha256\":\"no\""}}}, {kOwnSum, "of what it was before"}};
  write_summed_json(file, value);
  const std::string text = read_file(file);
  fs::remove(file);
  EXPECT_TRUE(has_own_sum(text));
  const json written = json::parse(text);
  EXPECT_EQ(written.at("std"), 0.25);
  EXPECT_EQ(written.at(kOwnSum),
            sha256_hex(R"({"manifest_sha256":"","std":0.25,"z":{"text":"says\"manifest_sha256\":\"no\""}})"));
  EXPECT_TRUE(has_own_sum(written.dump())) << "on one line";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ' || text[i] == '\n') continue;
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 1);
    const bool names_it = other.find("\"manifest_sha256\": \"") != std::string::npos;
    EXPECT_EQ(has_own_sum(other), !names_it) << i << ": " << other;
  }
  EXPECT_TRUE(has_own_sum(R"({"std": 1})")) << "of an earlier version";
}

}  // namespace
}  // namespace dmoerm
