// Names of models on a hub.
#pragma once
#include <string_view>

namespace dmoerm {

/// Whether a text can be the name of a repository on a hub of models, "owner/name", and not a path.
constexpr bool is_hub_name(std::string_view text) {
  const std::size_t slash = text.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < text.size() &&
         text.find('/', slash + 1) == std::string_view::npos && text[0] != '.' && text[0] != '~';
}

}  // namespace dmoerm
