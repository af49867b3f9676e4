// Files that are either whole or absent: written aside, fsynced, renamed.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace dmoerm {

/// Whole content of a file. @throws IoError naming the file and the reason
std::string read_file(const std::filesystem::path& path);
/// Parse a JSON file. @throws IoError, or DataError with file:line and what was expected
nlohmann::json read_json(const std::filesystem::path& path);
/// Replace `path` by `content` atomically: temporary name, fsync, rename, fsync of the directory. On failure (disk full) the
/// old file stays and nothing is left behind. @throws IoError, also if `path` is there and no regular file (a device, a pipe)
void write_file_atomically(const std::filesystem::path& path, std::string_view content);
/// write_file_atomically() of indented JSON and a line end.
void write_json_atomically(const std::filesystem::path& path, const nlohmann::json& value);
/// write_file_atomically() in pieces: a file that appears under its name when publish() is called, or not at all.
class PendingFile {
 public:
  /// @throws IoError if it cannot be created there, or something other than a file is
  explicit PendingFile(const std::filesystem::path& path);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  /// @throws IoError
  void write(std::string_view text);
  /// @throws IoError, and then nothing is left
  void publish();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
};
/// Flush `path` (file or directory) to the disk. @throws IoError
void sync_path(const std::filesystem::path& path);
/// That a rename to `path` puts no file in the place of a folder, of /dev/null or of a pipe. @throws IoError
void expect_no_special_file(const std::filesystem::path& path);
/// fsync `temporary`, rename it to `path`, fsync the directory. On failure `temporary` is removed. @throws IoError
void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path);
/// A name beside `path` that no other process uses: `path` + ".tmp-<host>-<pid>".
std::filesystem::path temporary_name(const std::filesystem::path& path);
/// Remove what processes of this host that are no more left under such names, anywhere below `directory`.
void remove_stale_temporaries(const std::filesystem::path& directory);
/// Remove what such processes left under temporary_name(path).
void remove_stale_temporaries_of(const std::filesystem::path& path);

}  // namespace dmoerm
