#include "base/error.h"

#include <fmt/format.h>

#include <filesystem>

namespace dmoerm {

Failure failure_of(const std::exception& e) {
  if (const auto* ours = dynamic_cast<const Error*>(&e); ours != nullptr) return {ours->exit_code(), ours->what()};
  if (const auto* refused = dynamic_cast<const std::filesystem::filesystem_error*>(&e); refused != nullptr) {
    std::string call = refused->what();  // "filesystem error: cannot create directories: Permission denied [/x]"
    call.erase(0, call.find(": ") == std::string::npos ? 0 : call.find(": ") + 2);
    return {IoError("").exit_code(), call};
  }
  return {1, fmt::format("internal error: {}", e.what())};
}

namespace detail {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  throw std::logic_error(
      fmt::format("{}:{}: internal error, please report it: {} does not hold: {}", file, line, condition, message));
}

}  // namespace detail
}  // namespace dmoerm
