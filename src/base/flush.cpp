#include "base/flush.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace dmoerm {

bool flush_to_disk(int descriptor, const std::filesystem::path& path) {
  int result = 0;
  do {
    result = ::fsync(descriptor);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return true;
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return false;
  static std::atomic<bool> warned{false};  // some network file systems and those in user space cannot do it
  if (warned.exchange(true)) return true;
  spdlog::warn("[files] {}: this file system cannot flush files to the disk ({}): a power cut may damage what was written last",
               path.string(), std::strerror(errno));
  return true;
}

}  // namespace dmoerm
