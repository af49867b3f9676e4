// This machine's name, for messages and for names of files that several machines write.
#pragma once
#include <string>

namespace dmoerm {

/// What gethostname() says; "localhost" if it says nothing.
std::string host_name();

}  // namespace dmoerm
