#include "base/hash_cache.h"

#include <chrono>

#include "base/hash.h"
#include "support/scratch.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;

class HashCacheFile : public test::Scratch {
 protected:
  /// Writes into the file, which then seems to be an hour older than the last time.
  std::string put(const std::string& text) {
    const std::string file = write("large", text);
    hours_ += 1;
    fs::last_write_time(file, start_ - std::chrono::hours(hours_));
    return file;
  }
  [[nodiscard]] HashCache cache() const { return HashCache(directory_ / "hashes.json"); }
  fs::file_time_type start_ = fs::file_time_type::clock::now();
  int hours_ = 0;
};

TEST_F(HashCacheFile, ReadsAFileAgainOnlyIfItHasChanged) {
  const std::string file = put("one");
  const auto time = fs::last_write_time(file);
  HashCache first = cache();
  EXPECT_EQ(first.sha256(file), sha256_hex("one"));
  first.save();
  static_cast<void>(write("large", "two"));
  fs::last_write_time(file, time);
  EXPECT_EQ(cache().sha256(file), sha256_hex("one")) << "size, time and inode are the same, so it is not read";
  put("two");
  EXPECT_EQ(cache().sha256(file), sha256_hex("two"));
}

TEST_F(HashCacheFile, KeepsNothingOfAFileThatHasJustChanged) {
  const std::string file = write("large", "one");
  HashCache cache = this->cache();
  cache.sha256(file);
  cache.save();
  EXPECT_FALSE(fs::exists(directory_ / "hashes.json"));
  EXPECT_EQ(cache.find(file, {file}), "");
}

TEST_F(HashCacheFile, ADamagedCacheIsAnEmptyOne) {
  const std::string file = put("one");
  static_cast<void>(write("hashes.json", "{\"x\": 7}"));
  HashCache cache = this->cache();
  EXPECT_EQ(cache.find(file, {file}), "");
  EXPECT_EQ(cache.sha256(file), sha256_hex("one"));
}

}  // namespace
}  // namespace dmoerm
