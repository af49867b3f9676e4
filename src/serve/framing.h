// Whether a request says clearly whom it is for and where it ends.
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

/// Makes the whole address that a client sends as to a proxy ("http://host:8000/score") the path of this server ("/score"). Its
/// host takes the place of the header Host (RFC 9112, section 3.2.2).
/// @return a sentence that says what is wrong with the host, or nothing
std::optional<std::string> resolve_target(std::string& target, std::map<std::string, std::string>& headers);

}  // namespace dmoerm::serve
