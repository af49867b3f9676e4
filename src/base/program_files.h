// Where the program's own files lie: judge templates, preset configurations, launch scripts.
#pragma once
#include <filesystem>

namespace dmoerm {

/// The folder that has configs/ and launch/. The environment variable DMOERM_ROOT names it. Without it, an installed program
/// (PREFIX/bin/dmoerm) uses PREFIX/share/dmoerm, and any other the source tree that it was built from.
std::filesystem::path program_folder();
/// The same for a program that lies at `executable`, whatever DMOERM_ROOT says.
std::filesystem::path program_folder_of(const std::filesystem::path& executable);

}  // namespace dmoerm
