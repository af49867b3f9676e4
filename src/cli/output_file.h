// Checks of files that a verb is about to write.
#pragma once
#include <filesystem>
#include <string_view>

namespace dmoerm::cli {

/// Refuse a place that would lose something: a folder, or an existing file of another kind.
/// @param option  the option that names it, as messages show it
/// @param ending  ending of the files that the option writes, such as ".html"
/// @throws ConfigError
void expect_output_file(std::string_view option, const std::filesystem::path& path, std::string_view ending);

}  // namespace dmoerm::cli
