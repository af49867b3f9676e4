// Files that are either whole or absent: written under a temporary name, flushed to the disk, then renamed.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace dmoerm {

/// The whole content of a file. @throws IoError naming the file and the reason
std::string read_file(const std::filesystem::path& path);
/// Parse a JSON file. @throws IoError, or DataError with file:line and what was expected
nlohmann::json read_json(const std::filesystem::path& path);
/// Replace `path` by `content` atomically: temporary name, fsync, rename, fsync of the directory. On failure (disk full) the
/// old file stays and nothing is left behind. @throws IoError, also if `path` exists and is not a regular file (a device, a pipe)
void write_file_atomically(const std::filesystem::path& path, std::string_view content);
/// Write indented JSON and a line end with write_file_atomically().
void write_json_atomically(const std::filesystem::path& path, const nlohmann::json& value);
/// A file that is written in pieces. It appears under its name when publish() is called, or not at all.
class PendingFile {
 public:
  /// @throws IoError if the file cannot be created there, or if something there is not a regular file
  explicit PendingFile(const std::filesystem::path& path);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  /// @throws IoError
  void write(std::string_view text);
  /// @throws IoError, after which nothing is left behind
  void publish();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
};
/// Flush a file or directory to the disk. @throws IoError
void sync_path(const std::filesystem::path& path);
/// Check that a rename to `path` does not replace a folder, /dev/null or a pipe by a file. @throws IoError
void expect_no_special_file(const std::filesystem::path& path);
/// fsync `finished`, rename it to `path`, fsync the directory. On failure `finished` stays where it is. @throws IoError
void move_finished_file(const std::filesystem::path& finished, const std::filesystem::path& path);
/// move_finished_file() of a file that is easily written again: on failure `temporary` is removed. @throws IoError
void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path);
/// Give a file or folder a name of the same file system that nothing has yet. @return false if something has it, which stays as
/// it is. @throws IoError
bool move_without_replacing(const std::filesystem::path& from, const std::filesystem::path& to);
/// A name beside `path` that no other process uses: `path` followed by ".tmp-<host>-<pid>".
std::filesystem::path temporary_name(const std::filesystem::path& path);
/// Whether a file name has the form of a temporary_name() of any host.
bool is_temporary_name(const std::string& file_name);
/// Whether a process of this host made a file name as temporary_name() and is dead.
bool is_stale_temporary(const std::string& file_name);
/// Remove what dead processes of this host left under such names, anywhere below `directory`.
void remove_stale_temporaries(const std::filesystem::path& directory);
/// Remove what dead processes of this host left under temporary_name(path).
void remove_stale_temporaries_of(const std::filesystem::path& path);

}  // namespace dmoerm
