// Hashes of large files that need not be computed again while the files stay as they are.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace dmoerm {

/// What tells a file from a changed one without reading it: size, time of the last change in ns, and inode. "" if it is absent.
std::string file_fingerprint(const std::filesystem::path& path);

/// A JSON file with fingerprints and hashes. A damaged or missing one is an empty cache. Not thread safe.
class HashCache {
 public:
  explicit HashCache(std::filesystem::path file);

  /// SHA-256 of a file as sha256_file() gives it. @throws IoError
  std::string sha256(const std::filesystem::path& path);
  /// What was stored under this name for files with these fingerprints, or "".
  [[nodiscard]] std::string find(const std::string& name, const std::vector<std::filesystem::path>& files) const;
  /// Store a value that was computed from these files, unless one of them changed so recently that a later change might not be
  /// noticed.
  void store(const std::string& name, const std::vector<std::filesystem::path>& files, const std::string& value);
  /// Have sha256() read a file again.
  void forget(const std::filesystem::path& path);
  /// Forget everything if there are more values than that.
  void limit(std::size_t values_max);
  /// Write the cache if it has changed. A failure is only a debug message, because nothing is lost.
  void save();

 private:
  struct Entry {
    std::string fingerprint, value;
  };
  std::filesystem::path file_;
  std::map<std::string, Entry> entries_;
  bool changed_ = false;
};

/// The file of hashes that all runs of a user share: hashes.json in the folder where launch/setup.sh puts things (DMOERM_HOME, or
/// else dmoerm in XDG_CACHE_HOME or in ~/.cache); "" if there is no such folder.
std::filesystem::path shared_hashes_file();

/// What `own` has under this name for these files, or else the cache in the file `shared`; if neither has it, what `compute`
/// gives. Both have it then, but only `shared` is written to the disk. Of two processes that write it at the same time, one may
/// lose what it adds.
/// @param shared  "" or a file that cannot be written is as good as an empty cache
std::string find_or_compute(HashCache& own, const std::filesystem::path& shared, const std::string& name,
                            const std::vector<std::filesystem::path>& files, const std::function<std::string()>& compute);

}  // namespace dmoerm
