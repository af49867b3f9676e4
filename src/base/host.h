// The name of this machine, for messages and for file names that several machines use side by side.
#pragma once
#include <string>

namespace dmoerm {

/// The name that gethostname() gives, or "localhost" if it gives none.
std::string host_name();

}  // namespace dmoerm
