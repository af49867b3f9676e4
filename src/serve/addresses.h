// The addresses that a server answers: those of the protocols, and its own.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::serve {

/// All addresses with their methods, as GET /info lists them: "GET /health".
std::vector<std::string> address_names();

/// The methods with which a path is asked, for the header Allow: "GET, HEAD"; "" for a path that does not exist.
std::string methods_of(std::string_view path);

/// A path as /metrics names it: one of those that exist, so that strangers cannot make new names. "other" is any that does not.
std::string label_of(const std::string& path);

/// The sentence for a path that does not exist. It names the address that the path is but for slashes at its end.
std::string unknown_address(const std::string& path);

}  // namespace dmoerm::serve
