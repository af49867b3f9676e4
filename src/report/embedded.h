// Files that the build puts into the program.
#pragma once
#include <string_view>

namespace dmoerm::report {

extern const std::string_view kPageStyle;    ///< src/report/page.css
extern const std::string_view kCurveScript;  ///< src/report/curves.js

}  // namespace dmoerm::report
