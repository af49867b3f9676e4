#include "label/judge_folder.h"

#include <cstdlib>

#include "base/program_files.h"

namespace dmoerm::label {

std::filesystem::path judge_folder() {
  const char* folder = std::getenv("DMOERM_JUDGE_DIR");
  return folder != nullptr && *folder != 0 ? std::filesystem::path(folder) : program_folder() / "configs" / "judge";
}

}  // namespace dmoerm::label
