// Characters that look like those of YAML and are none, as word processors, web pages and East Asian keyboards make them.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm::config {

/// The first such character of a text and what to write: " (it holds a no-break space, U+00A0: write a blank)"; "" if there is
/// none.
std::string odd_character(std::string_view text);

}  // namespace dmoerm::config
