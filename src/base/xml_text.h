// Text within XML, HTML and SVG.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm {

/// The text with the characters that have a meaning in markup written as entities.
std::string xml_escaped(std::string_view text);

}  // namespace dmoerm
