#include "base/dangling_link.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace dmoerm {

std::string dangling_link(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code unknown;
  for (fs::path part = path; !part.empty(); part = part.parent_path()) {
    if (fs::is_symlink(fs::symlink_status(part, unknown)) && !fs::exists(part, unknown))
      return fmt::format(
          "; {} is a link to {}, which does not exist: fetch what it stands for (download it again, or `git annex get`), or "
          "correct the link",
          part.string(), fs::read_symlink(part, unknown).string());
    if (part == part.root_path()) break;
  }
  return "";
}

std::string why_not_opened(const std::filesystem::path& path, int error) {
  const std::string system = std::strerror(error), link = dangling_link(path), text = path.string();
  if (error != ENOENT || !link.empty()) return system + link;
  if (text.find_first_of("*?[") != std::string::npos) return system + "; patterns are not expanded here: name each file";
  for (const char* scheme : {"http:/", "https:/", "hf:/", "s3:/", "gs:/"}) {
    if (text.find(scheme) != std::string::npos) return system + "; addresses are not read: download the file first";
  }
  return system;
}

}  // namespace dmoerm
