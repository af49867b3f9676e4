// What is said where a path cannot be opened because a link on it points nowhere, or because it is no path.
#pragma once
#include <filesystem>
#include <string>

namespace dmoerm {

/// "; FILE is a link to TARGET, which does not exist: ..." if `path`, or a folder on the way to it, is such a link, as in a cache
/// of the Hugging Face Hub or in git-annex before the content is fetched. "" if none is.
std::string dangling_link(const std::filesystem::path& path);
/// What the system says (`error` is errno), and dangling_link(), or what to do about a shell's pattern or an address.
std::string why_not_opened(const std::filesystem::path& path, int error);

}  // namespace dmoerm
