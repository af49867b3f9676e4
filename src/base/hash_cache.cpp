#include "base/hash_cache.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr std::size_t kSharedMax = 1000;  // far more models than anybody has; the rest are scratch folders that are gone
constexpr std::time_t kRecentS = 3;       // a file system's clock may differ a little, and its times may be coarse

std::string fingerprint_of(const std::vector<fs::path>& files) {
  std::string all;
  for (const fs::path& file : files) {
    const std::string one = file_fingerprint(file);
    if (one.empty()) return "";
    all += (all.empty() ? "" : ";") + one;
  }
  return all;
}

std::string name_of(const fs::path& path) { return fs::absolute(path).lexically_normal().string(); }

bool changed_recently(const fs::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) != 0 || status.st_mtim.tv_sec + kRecentS >= std::time(nullptr);
}

}  // namespace

std::string file_fingerprint(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "";
  return fmt::format("{}:{}.{:09}:{}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ino);
}

HashCache::HashCache(fs::path file) : file_(std::move(file)) {
  try {
    if (!fs::exists(file_)) return;
    const json all = read_json(file_);
    for (const auto& [name, entry] : all.items()) entries_[name] = {entry.at("files"), entry.at("value")};
  } catch (const std::exception& e) {
    spdlog::debug("[hash] {} is not used: {}", file_.string(), e.what());
    entries_.clear();
  }
}

std::string HashCache::sha256(const fs::path& path) {
  const std::string name = name_of(path);
  std::string sha = find(name, {path});
  if (!sha.empty()) return sha;
  sha = sha256_file(path);
  store(name, {path}, sha);
  return sha;
}

std::string HashCache::find(const std::string& name, const std::vector<fs::path>& files) const {
  const auto found = entries_.find(name);
  return found != entries_.end() && found->second.fingerprint == fingerprint_of(files) ? found->second.value : "";
}

void HashCache::store(const std::string& name, const std::vector<fs::path>& files, const std::string& value) {
  for (const fs::path& file : files) {
    if (changed_recently(file)) return;
  }
  entries_[name] = {fingerprint_of(files), value};
  changed_ = true;
}

void HashCache::forget(const fs::path& path) {
  if (entries_.erase(name_of(path)) > 0) changed_ = true;
}

void HashCache::limit(std::size_t values_max) {
  if (entries_.size() <= values_max) return;
  entries_.clear();
  changed_ = true;
}

void HashCache::save() {
  if (!changed_) return;
  json all = json::object();
  for (const auto& [name, entry] : entries_) all[name] = {{"files", entry.fingerprint}, {"value", entry.value}};
  try {
    write_json_atomically(file_, all);
    changed_ = false;
  } catch (const Error& e) {
    spdlog::debug("[hash] {}", e.what());
  }
}

fs::path shared_hashes_file() {
  const auto value_of = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  fs::path folder = value_of("DMOERM_HOME");
  if (folder.empty()) {
    fs::path caches = value_of("XDG_CACHE_HOME");
    if (caches.empty() && !value_of("HOME").empty()) caches = value_of("HOME") / ".cache";
    if (caches.empty()) return "";
    folder = caches / "dmoerm";
  }
  std::error_code ignored;
  return fs::is_directory(folder, ignored) ? folder / "hashes.json" : "";
}

std::string find_or_compute(HashCache& own, const fs::path& shared, const std::string& name, const std::vector<fs::path>& files,
                            const std::function<std::string()>& compute) {
  std::string value = own.find(name, files);
  if (!value.empty()) return value;
  if (!shared.empty()) value = HashCache(shared).find(name, files);
  const bool computed = value.empty();
  if (computed) value = compute();
  own.store(name, files, value);
  if (computed && !shared.empty()) {
    HashCache now(shared);  // read again: computing takes long, and others write meanwhile
    now.limit(kSharedMax);
    now.store(name, files, value);
    now.save();
  }
  return value;
}

}  // namespace dmoerm
