// Where the templates and criteria of judges lie.
#pragma once
#include <filesystem>

namespace dmoerm::label {

/// The folder that the environment variable DMOERM_JUDGE_DIR names, or configs/judge of the program's own files.
std::filesystem::path judge_folder();

}  // namespace dmoerm::label
