// Documents that the build puts into the program.
#pragma once
#include <string_view>

namespace dmoerm::cli {

extern const std::string_view kErrorTable;  ///< docs/errors.md
extern const std::string_view kLicences;    ///< docs/licences.md

}  // namespace dmoerm::cli
