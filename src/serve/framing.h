// Whether a request's headers say clearly where it ends.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace dmoerm::serve {

/// What is wrong with the headers that say whom a request is for and where its body ends. A proxy may read such headers
/// otherwise than this server, and would then take the rest of one client's request for another's.
/// @param headers  names in lower case; values that stand several times are joined by ", "
/// @param version  "HTTP/1.1"
/// @return a sentence, or nothing if all is well
std::optional<std::string> framing_problem(const std::map<std::string, std::string>& headers, std::string_view version);

}  // namespace dmoerm::serve
