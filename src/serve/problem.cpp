#include "serve/problem.h"

#include <filesystem>

namespace dmoerm::serve {

Problem problem_of(const std::exception& e) {
  if (const auto* known = dynamic_cast<const Error*>(&e); known != nullptr)
    return {known->code().empty() ? ErrorCode("internal-error") : known->code(), known->what()};
  const bool refused = dynamic_cast<const std::filesystem::filesystem_error*>(&e) != nullptr;
  std::string words = failure_of(e).message;
  if (const std::size_t code = words.rfind(" ["); code != std::string::npos && words.ends_with(']')) words.resize(code);
  return {refused ? ErrorCode("file-system-refused") : ErrorCode("internal-error"), std::move(words)};
}

}  // namespace dmoerm::serve
