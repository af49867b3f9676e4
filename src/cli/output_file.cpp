#include "cli/output_file.h"

#include <fmt/format.h>

#include "base/error.h"

namespace dmoerm::cli {

void expect_output_file(std::string_view option, const std::filesystem::path& path, std::string_view ending) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw ConfigError("output-is-another-file", fmt::format("{} {}: this is a folder; name a file", option, path.string()));
  if (std::filesystem::exists(path, ignored) && path.extension() != ending)
    throw ConfigError(
        "output-is-another-file",
        fmt::format("{} {}: this file exists and does not end in {}, so it may be another file: name one that does, "
                    "or remove it",
                    option, path.string(), ending));
}

}  // namespace dmoerm::cli
