#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/dangling_link.h"
#include "base/error.h"
#include "base/flush.h"
#include "base/host.h"
#include "base/json_problem.h"

namespace dmoerm {
namespace {

[[noreturn]] void fail(ErrorCode code, const std::filesystem::path& path, const char* action) {
  throw IoError(code, fmt::format("{}: cannot {}: {}", path.string(), action, std::strerror(errno)));
}

/// The part of a temporary_name() between the file's name and the process id. Containers of one host may have the same host name
/// and process ids, so their namespace belongs to it.
std::string temporary_suffix() {
  constexpr ino_t kOfTheHost = 0xEFFFFFFC;  // what Linux gives the first namespace of process ids
  struct stat space {};
  const bool own = ::stat("/proc/self/ns/pid", &space) == 0 && space.st_ino != kOfTheHost;
  return own ? fmt::format(".tmp-{}.{}-", host_name(), space.st_ino) : fmt::format(".tmp-{}-", host_name());
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0)
      throw IoError("cannot-open-file", fmt::format("{}: cannot open: {}", path.string(), why_not_opened(path, errno)));
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  Descriptor file(path, O_RDONLY);
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot-read-file", path, "read");
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
  }
}

nlohmann::json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

std::filesystem::path temporary_name(const std::filesystem::path& path) {
  return path.string() + temporary_suffix() + std::to_string(::getpid());
}

bool is_temporary_name(const std::string& file_name) {
  const auto mark = file_name.rfind(".tmp-"), dash = file_name.rfind('-');
  return mark != std::string::npos && mark > 0 && dash > mark + 5 && dash + 1 < file_name.size() &&
         file_name.find_first_not_of("0123456789", dash + 1) == std::string::npos;
}

namespace {

/// Whether a process of this machine still runs. One that has ended and whose parent has not asked for its code does not.
bool is_alive(pid_t process) {
  if (::kill(process, 0) != 0 && errno == ESRCH) return false;
  std::ifstream status(fmt::format("/proc/{}/stat", process));
  std::string line;
  std::getline(status, line);
  const auto name_end = line.rfind(") ");  // a name may hold parentheses
  return name_end == std::string::npos || name_end + 2 >= line.size() || (line[name_end + 2] != 'Z' && line[name_end + 2] != 'X');
}

}  // namespace

bool is_stale_temporary(const std::string& name) {
  const std::string suffix = temporary_suffix();
  const auto at = name.rfind(suffix);
  if (at == std::string::npos) return false;
  const std::string digits = name.substr(at + suffix.size());
  pid_t writer = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), writer);
  if (error != std::errc() || end != digits.data() + digits.size() || writer <= 0) return false;
  return !is_alive(writer);
}

namespace {

void remove_all(const std::vector<std::filesystem::path>& paths) {
  for (const std::filesystem::path& path : paths) std::filesystem::remove_all(path);
}

}  // namespace

void remove_stale_temporaries(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  std::vector<fs::path> stale;
  for (auto entry = fs::recursive_directory_iterator(directory); entry != fs::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().filename().string();
    if (entry->is_directory() && name.find(temporary_suffix()) != std::string::npos) entry.disable_recursion_pending();
    if (is_stale_temporary(name)) stale.push_back(entry->path());
  }
  remove_all(stale);
}

void remove_stale_temporaries_of(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::vector<fs::path> stale;
  std::error_code ignored;  // the writer reports a missing directory
  for (const auto& entry : fs::directory_iterator(path.has_parent_path() ? path.parent_path() : fs::path("."), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(path.filename().string() + temporary_suffix()) && is_stale_temporary(name))
      stale.push_back(entry.path());
  }
  remove_all(stale);
}

void sync_path(const std::filesystem::path& path) {
  const Descriptor file(path, O_RDONLY);
  if (!flush_to_disk(file.get(), path)) fail("cannot-write-file", path, "flush to disk");
}

void expect_no_special_file(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    throw IoError("not-a-regular-file", fmt::format("{}: exists and is not a regular file: name another output", path.string()));
}

void move_finished_file(const std::filesystem::path& finished, const std::filesystem::path& path) {
  expect_no_special_file(path);
  sync_path(finished);
  if (::rename(finished.c_str(), path.c_str()) != 0) fail("cannot-move-file", path, "rename a finished file to this name");
  sync_path(path.has_parent_path() ? path.parent_path() : ".");
}

void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  try {
    move_finished_file(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

namespace {

/// rename(2) to a name that nothing has yet, for file systems that cannot promise that. link(2) does for files; a folder replaces
/// no more than an empty one.
bool move_without_flags(const char* from, const char* to) {
  struct stat found {};
  if (::lstat(from, &found) != 0) return false;
  if (!S_ISDIR(found.st_mode)) {
    if (::link(from, to) == 0) return ::unlink(from) == 0;
    if (errno == EEXIST) return false;
  }
  if (::lstat(to, &found) == 0) {
    errno = EEXIST;
    return false;
  }
  return ::rename(from, to) == 0;
}

}  // namespace

bool move_without_replacing(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  const bool unknown = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
  if (unknown && move_without_flags(from.c_str(), to.c_str())) return true;
  if (errno == EEXIST || errno == ENOTEMPTY) return false;
  fail("cannot-move-file", from, fmt::format("move it to {}", to.string()).c_str());
}

PendingFile::PendingFile(const std::filesystem::path& path) : path_(path), temporary_(temporary_name(path)) {
  expect_no_special_file(path);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail("cannot-create-file", path, "create");
}

PendingFile::~PendingFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void PendingFile::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd_, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("cannot-write-file", path_, "write");
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

void PendingFile::publish() {
  const int closed = ::close(std::exchange(fd_, -1));  // NFS reports a full disk or quota here
  if (closed != 0 && errno != EINTR) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    errno = error;
    fail("cannot-write-file", path_, "write");
  }
  publish_file(temporary_, path_);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  PendingFile file(path);
  file.write(content);
  file.publish();
}

void write_json_atomically(const std::filesystem::path& path, const nlohmann::json& value) {
  write_file_atomically(path, value.dump(2) + "\n");
}

}  // namespace dmoerm
