// Names of models on a hub.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace dmoerm {

/// Whether a text can be the name of a repository on a hub of models, "owner/name", and not a path.
constexpr bool is_hub_name(std::string_view text) {
  const std::size_t slash = text.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < text.size() &&
         text.find('/', slash + 1) == std::string_view::npos && text[0] != '.' && text[0] != '~';
}

/// "there is no such directory", with what to do if the path seems to be a name on the Hugging Face Hub (owner/name,
/// owner/name@revision, an address of its page) or begins with a ~ that no shell has replaced.
std::string no_such_directory(const std::filesystem::path& path);

}  // namespace dmoerm
