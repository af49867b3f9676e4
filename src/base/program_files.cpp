#include "base/program_files.h"

#include <cstdlib>

namespace dmoerm {

namespace fs = std::filesystem;

fs::path program_folder_of(const fs::path& executable) {
  const fs::path installed = executable.parent_path().parent_path() / "share" / "dmoerm";
  std::error_code unreadable;
  return fs::is_directory(installed, unreadable) ? installed : fs::path(DMOERM_SOURCE);
}

fs::path program_folder() {
  if (const char* folder = std::getenv("DMOERM_ROOT"); folder != nullptr && *folder != 0)
    return fs::absolute(folder).lexically_normal();
  std::error_code unreadable;
  return program_folder_of(fs::read_symlink("/proc/self/exe", unreadable));
}

}  // namespace dmoerm
