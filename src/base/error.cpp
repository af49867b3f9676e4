#include "base/error.h"

#include <fmt/format.h>

namespace dmoerm::detail {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  throw std::logic_error(
      fmt::format("{}:{}: internal error, please report it: {} does not hold: {}", file, line, condition, message));
}

}  // namespace dmoerm::detail
