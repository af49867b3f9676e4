#include "base/cannot_write.h"

#include <fmt/format.h>

namespace dmoerm {

std::string cannot_write(std::string_view file, std::string_view what) {
  return fmt::format("{}: cannot {}: is the disk full, or the limit of ulimit -f reached?", file, what);
}

}  // namespace dmoerm
