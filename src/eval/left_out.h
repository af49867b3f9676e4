// Lines of a data file that are left out.
#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/log.h"

namespace dmoerm::eval {

/// Warns of the first lines that are left out, and says once that it does not tell the others.
class LeftOutWarnings {
 public:
  /// @param message  names the line and says why it is left out
  void add(const std::string& message, ErrorCode code) {
    constexpr std::int64_t kWarningsMax = 10;
    if (told_++ < kWarningsMax) spdlog::warn("[eval] left out: {}", with_code(message, code));
    if (told_ == kWarningsMax) spdlog::warn("[eval] what else is left out is only counted");
  }

 private:
  std::int64_t told_ = 0;
};

}  // namespace dmoerm::eval
