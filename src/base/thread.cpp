#include "base/thread.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/thread_limits.h"

namespace dmoerm {

std::thread start_thread(const char* what, std::function<void()> work) {
  try {
    return std::thread(std::move(work));
  } catch (const std::system_error& e) {
    throw Error("no-more-threads", fmt::format("cannot start {}: {}; {}", what, e.code().message(), limits_on_threads()));
  }
}

}  // namespace dmoerm
