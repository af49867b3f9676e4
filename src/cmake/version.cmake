# Writes version.cpp with the project's version and the commit that is built. It runs at every build and touches the file only when
# its text changes. Usage: cmake -DSOURCE=... -DVERSION=... -DOUT=... -P version.cmake
set(commit unknown)
find_package(Git QUIET)
if(GIT_FOUND AND EXISTS "${SOURCE}/.git") # an archive that is unpacked inside another repository has no commit of its own
  set(ENV{GIT_OPTIONAL_LOCKS} 0)
  execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${SOURCE}" describe --always "--exclude=*" --abbrev=12 --dirty
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
  if(NOT failed)
    set(commit "${found}")
  endif()
endif()
file(CONFIGURE OUTPUT "${OUT}" @ONLY CONTENT [[
#include "cli/version.h"

namespace dmoerm::cli {

std::string_view version() { return "@VERSION@"; }
std::string_view commit() { return "@commit@"; }

}  // namespace dmoerm::cli
]])
