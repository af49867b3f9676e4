// The addresses that a server answers: those of the protocols, and its own.
#pragma once
#include <string>
#include <vector>

namespace dmoerm::serve {

/// All addresses with their methods, as GET /info lists them: "GET /health".
std::vector<std::string> address_names();

/// A path as /metrics names it: one of those that exist, so that strangers cannot make new names. "other" is any that does not.
std::string label_of(const std::string& path);

}  // namespace dmoerm::serve
