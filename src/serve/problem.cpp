#include "serve/problem.h"

#include <string_view>

namespace dmoerm::serve {
namespace {

/// Codes that failure_of() gives to exceptions of libraries.
constexpr ErrorCode kCodes[] = {"file-system-refused", "no-more-threads", "unexpected-json-value", "out-of-memory",
                                "internal-error"};

}  // namespace

Problem problem_of(const std::exception& e) {
  if (const auto* known = dynamic_cast<const Error*>(&e); known != nullptr)
    return {known->code().empty() ? ErrorCode("internal-error") : known->code(), known->what()};
  std::string words = failure_of(e).message;
  for (const ErrorCode code : kCodes) {
    const std::string end = with_code("", code);
    if (!words.ends_with(end)) continue;
    words.resize(words.size() - end.size());
    return {code, std::move(words)};
  }
  return {"internal-error", std::move(words)};
}

}  // namespace dmoerm::serve
