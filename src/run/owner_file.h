// Makes sure that only one process at a time works in a directory, on any host that sees it.
#pragma once
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <thread>
#include <vector>

namespace dmoerm::run {

/// Owns a directory during its lifetime, by the file `owner.json` with the host, process and job that work there. A lock on the
/// file keeps out processes on hosts that share locks. Some file systems do not share locks between hosts, so a thread also
/// rewrites the file every few seconds, and a newcomer on another host, or one that finds no locks at all, watches whether it
/// still changes.
class OwnerFile {
 public:
  /// @throws ConfigError naming the owner, if another live process works there; IoError
  explicit OwnerFile(const std::filesystem::path& directory);
  ~OwnerFile();
  OwnerFile(const OwnerFile&) = delete;
  OwnerFile& operator=(const OwnerFile&) = delete;

 private:
  void take();
  void watch_for(const nlohmann::json& owner) const;
  [[nodiscard]] std::string write_owner() const;
  void touch();
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  ///< Folders made, innermost first
  int descriptor_ = -1;
  std::mutex mutex_;
  std::condition_variable leaving_;
  bool left_ = false;
  std::thread thread_;
};

}  // namespace dmoerm::run
