// What was built. src/cmake/version.cmake writes the functions' bodies at every build.
#pragma once
#include <string_view>

namespace dmoerm::cli {

/// The version that CMakeLists.txt gives the project.
std::string_view version();
/// The first twelve digits of the git commit, with "-dirty" after them if tracked files differed from it; "unknown" without git.
std::string_view commit();

}  // namespace dmoerm::cli
