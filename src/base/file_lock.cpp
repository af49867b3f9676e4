#include "base/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;

/// Whether an error of flock(2) or fcntl(2) means that the file system has no locks: NFS without lockd, Lustre mounted without
/// flock, and file systems in user space that leave locks out.
bool means_no_locks(int error) {
  return error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP || error == ENOTSUP || error == EINVAL ||
         error == EPROTONOSUPPORT;
}

/// Whether `path` is the folder of a mount or lies below it.
bool lies_in(const std::string& path, const std::string& mount) {
  return mount == "/" || path == mount || path.starts_with(mount + "/");
}

}  // namespace

LockOutcome take_lock(int descriptor, const fs::path& path, bool shared) {
  for (;;) {
    if (::flock(descriptor, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return LockOutcome::taken;
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK || errno == EAGAIN || errno == EACCES) return LockOutcome::held_elsewhere;
    if (means_no_locks(errno)) return LockOutcome::not_supported;
    throw IoError("cannot-lock-file", fmt::format("{}: cannot lock: {}", path.string(), std::strerror(errno)));
  }
}

bool has_record_locks(const fs::path& path) {
  const bool made = !fs::exists(path);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return true;  // SQLite reports that it cannot open the file
  struct flock lock {};
  lock.l_type = F_WRLCK, lock.l_whence = SEEK_SET, lock.l_start = 0, lock.l_len = 1;
  const bool works = ::fcntl(descriptor, F_SETLK, &lock) == 0 || !means_no_locks(errno);
  ::close(descriptor);  // which ends the lock
  if (made) ::unlink(path.c_str());
  return works;
}

std::string without_locks(const fs::path& path) {
  std::error_code ignored;
  const std::string real = fs::weakly_canonical(path, ignored).string();
  std::ifstream mounts("/proc/self/mounts");
  std::string type = "the file system", at = "";
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, folder, kind;
    fields >> device >> folder >> kind;
    if (lies_in(real, folder) && folder.size() >= at.size()) type = kind, at = folder;
  }
  return fmt::format("{} at {} has no file locks", type, at.empty() ? real : at);
}

std::string advice_on_locks(const std::string& setting) {
  return fmt::format(
      "set {} to a folder on a file system with locks, such as a disk of this host, or have this one mounted with locks (Lustre: "
      "-o flock; NFS: not with nolock, and with a running lockd)",
      setting);
}

}  // namespace dmoerm
