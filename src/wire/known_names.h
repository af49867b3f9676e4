// What is said of a name that nothing here knows.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::wire {

/// The known name that resembles it, and all known ones: ", did you mean split?; there are label, split".
/// @param lead  the words before the names: "there are"
std::string known_instead(std::string_view name, const std::vector<std::string>& known, std::string_view lead);

}  // namespace dmoerm::wire
