#include "base/cannot_write.h"

#include <fmt/format.h>

#include <cerrno>

namespace dmoerm {

std::string cannot_write(std::string_view file, std::string_view what) {
  if (errno == ESTALE)
    return fmt::format("{}: cannot {}: the file server has lost or replaced the file (stale file handle): mount it again", file,
                       what);
  if (errno == EDQUOT) return fmt::format("{}: cannot {}: your disk quota is used up", file, what);
  return fmt::format("{}: cannot {}: is the disk full, or the limit of ulimit -f reached?", file, what);
}

}  // namespace dmoerm
