#include "base/hash_cache.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "support/scratch.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;

/// Puts variables of the environment back at the end of a test.
class Environment {
 public:
  explicit Environment(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const char* value = std::getenv(name.c_str());
      before_.emplace_back(name, value == nullptr ? std::nullopt : std::optional<std::string>(value));
    }
  }
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  void set(const char* name, const std::string& value) const { ::setenv(name, value.c_str(), 1); }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

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

TEST_F(HashCacheFile, RunsShareWhatOneOfThemComputed) {
  const fs::path file = put("weights"), shared = directory_ / "shared.json";
  int computed = 0;
  const auto digest = [&](const fs::path& where) {
    HashCache own(directory_ / "of_a_new_run.json");
    std::string value = find_or_compute(own, where, "model", {file}, [&] { return fmt::format("digest {}", ++computed); });
    EXPECT_EQ(own.find("model", {file}), value);
    return value;
  };
  EXPECT_EQ(digest(shared), "digest 1");
  EXPECT_EQ(digest(shared), "digest 1");
  static_cast<void>(put("other weights"));
  EXPECT_EQ(digest(shared), "digest 2");
  EXPECT_EQ(digest(shared), "digest 2");
  EXPECT_EQ(digest(""), "digest 3");
  EXPECT_EQ(digest(directory_ / "absent" / "shared.json"), "digest 4") << "a place that cannot be written is none";
  EXPECT_FALSE(fs::exists(directory_ / "absent"));
}

TEST_F(HashCacheFile, ASharedCacheOfTooManyValuesBeginsAnew) {
  const fs::path file = put("weights");
  HashCache cache = this->cache();
  for (int i = 0; i < 3; ++i) cache.store(fmt::format("model {}", i), {file}, "digest");
  cache.limit(3);
  EXPECT_EQ(cache.find("model 0", {file}), "digest");
  cache.limit(2);
  EXPECT_EQ(cache.find("model 0", {file}), "");
}

TEST_F(HashCacheFile, TheSharedFileLiesWhereSetUpPutsThings) {
  const Environment environment({"DMOERM_HOME", "XDG_CACHE_HOME", "HOME"});
  fs::create_directories(directory_ / "dmoerm");
  fs::create_directories(directory_ / ".cache" / "dmoerm");
  environment.set("DMOERM_HOME", directory_.string());
  EXPECT_EQ(shared_hashes_file(), directory_ / "hashes.json");
  environment.set("DMOERM_HOME", (directory_ / "absent").string());
  EXPECT_EQ(shared_hashes_file(), "") << "no folder is made";
  environment.set("DMOERM_HOME", "");
  environment.set("XDG_CACHE_HOME", directory_.string());
  EXPECT_EQ(shared_hashes_file(), directory_ / "dmoerm" / "hashes.json");
  environment.set("XDG_CACHE_HOME", "");
  environment.set("HOME", directory_.string());
  EXPECT_EQ(shared_hashes_file(), directory_ / ".cache" / "dmoerm" / "hashes.json");
  environment.set("HOME", "");
  EXPECT_EQ(shared_hashes_file(), "");
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
