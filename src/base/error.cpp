#include "base/error.h"

#include <fmt/format.h>

#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/dangling_link.h"
#include "base/json_mismatch.h"
#include "base/thread_limits.h"

namespace dmoerm {

namespace {

/// What keeps folders from being made on the way to a path: "; /data/runs is a file, not a folder". "" if nothing does.
std::string in_the_way(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code unknown;
  if (std::string link = dangling_link(path); !link.empty()) return link;
  for (fs::path part = path; !part.empty(); part = part.parent_path()) {
    const fs::file_status own = fs::symlink_status(part, unknown);
    if (fs::exists(own) && !fs::is_symlink(own) && !fs::is_directory(own) && part != path)
      return fmt::format("; {} is a file, not a folder", part.string());
    if (part == part.root_path()) break;
  }
  return "";
}

}  // namespace

std::string with_code(const std::string& message, ErrorCode code) {
  return code.empty() ? message : fmt::format("{} [{}]", message, code.text());
}

Failure failure_of(const std::exception& e) {
  if (const auto* ours = dynamic_cast<const Error*>(&e); ours != nullptr)
    return {ours->exit_code(), with_code(ours->what(), ours->code()), ours->may_pass()};
  if (const auto* refused = dynamic_cast<const std::filesystem::filesystem_error*>(&e); refused != nullptr) {
    std::string call = refused->what();  // "filesystem error: cannot create directories: Permission denied [/x]"
    call.erase(0, call.find(": ") == std::string::npos ? 0 : call.find(": ") + 2);
    return {IoError("").exit_code(), with_code(call + in_the_way(refused->path1()), "file-system-refused")};
  }
  if (const auto* refused = dynamic_cast<const std::system_error*>(&e);
      refused != nullptr && refused->code() == std::errc::resource_unavailable_try_again)  // a library's thread
    return {1, with_code(fmt::format("cannot start a thread: {}", limits_on_threads()), "no-more-threads")};
  if (const auto* value = dynamic_cast<const nlohmann::json::exception*>(&e); value != nullptr)
    return {1, with_code("a JSON value cannot be read: " + json_mismatch(*value), "unexpected-json-value")};
  std::string what = e.what();
  // libtorch appends a stack trace.
  if (const auto trace = what.find("\nException raised from"); trace != std::string::npos) what.resize(trace);
  if (dynamic_cast<const std::bad_alloc*>(&e) != nullptr || what.find("can't allocate memory") != std::string::npos ||
      what.find("out of memory") != std::string::npos) {
    const std::string said = fmt::format(
        "out of memory ({}): lower compute.micro_batch_tokens or compute.trunk_cache_mb, or give a rank more memory", what);
    return {1, with_code(said, "out-of-memory")};
  }
  return {1, with_code(fmt::format("internal error: {}", what), "internal-error")};
}

namespace detail {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  throw std::logic_error(
      fmt::format("{}:{}: internal error, please report it: {} does not hold: {}", file, line, condition, message));
}

}  // namespace detail
}  // namespace dmoerm
